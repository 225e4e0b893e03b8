//! The posture of a sandbox, looked at from outside while its workload waits: what /proc of the suite says about the processes
//! inside (proc(5)). The workload takes no part in it, and cannot lie about it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::ending::{carrying, processes, send};
use crate::catalogue::Look;

/// How long the workload may take from its announcement to where it can be found.
const TO_COME: Duration = Duration::from_secs(5);

/// Finds the workload, tells what there is to tell, one fact a line, and ends the workload.
///
/// # Errors
/// When it is not found, or something cannot be read.
pub(super) fn at(nonce: &str, program: &Path, look: Look) -> io::Result<Vec<u8>> {
    let workload = find(nonce, program)?;
    let facts = facts(workload, look);
    send(Pid::from_raw(workload), Signal::SIGKILL);
    let mut text = String::new();
    for fact in facts? {
        text.push_str(&fact);
        text.push('\n');
    }
    Ok(text.into_bytes())
}

/// The process that runs the probe program with this nonce. The runtime has the nonce among its arguments too, but not the program
/// as the first.
fn find(nonce: &str, program: &Path) -> io::Result<i32> {
    let deadline = Instant::now() + TO_COME;
    loop {
        let runs = |pid: &i32| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.split(|&byte| byte == 0).next() == Some(program.as_os_str().as_bytes())
        };
        if let Some(pid) = carrying(nonce).into_iter().find(runs) {
            return Ok(pid);
        }
        if Instant::now() >= deadline {
            return Err(io::Error::other("the workload is not to be found from outside"));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn facts(workload: i32, look: Look) -> io::Result<BTreeSet<String>> {
    match look {
        Look::Namespaces => namespaces(workload),
        Look::Groups => groups(workload),
        Look::Cgroup => cgroups(workload),
        Look::Capabilities => sets(workload),
        Look::Filter => of_threads(workload, "Seccomp"),
        Look::NoNewPrivileges => of_threads(workload, "NoNewPrivs"),
        Look::Descriptors => descriptors(workload),
        Look::Mounts => mounts(workload),
        Look::Session => session(workload),
    }
}

/// The namespaces that the workload shares with the suite: with this thread of it, which has mounts of its own.
fn namespaces(workload: i32) -> io::Result<BTreeSet<String>> {
    let mut shared = BTreeSet::new();
    for entry in fs::read_dir("/proc/thread-self/ns")? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        // What children get is told by the namespaces of the children.
        if name.ends_with("_for_children") || name == "time" {
            continue;
        }
        let of = |process: &str| fs::metadata(format!("/proc/{process}/ns/{name}"));
        let (ours, theirs) = (of("thread-self")?, of(&workload.to_string())?);
        if (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()) {
            shared.insert(name.into_owned());
        }
    }
    Ok(shared)
}

/// The processes inside: those of the workload's pid namespace, or the workload alone where that is the suite's. A helper that carries
/// the network of a sandbox stands in its user namespace, and not inside.
fn inside(workload: i32) -> io::Result<Vec<i32>> {
    let namespace = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/pid")).map(|of| of.ino());
    let its = namespace(&workload.to_string())?;
    if its == namespace("self")? {
        return Ok(vec![workload]);
    }
    // One that ends meanwhile is no longer inside.
    Ok(processes().filter(|pid| namespace(&pid.to_string()).is_ok_and(|one| one == its)).collect())
}

/// What the status of every thread inside says in a field.
fn statuses(workload: i32, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut seen = 0;
    for pid in inside(workload)? {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            if let Ok(status) = fs::read_to_string(thread.path().join("status")) {
                seen += 1;
                each(&status);
            }
        }
    }
    if seen == 0 { Err(io::Error::other("no thread could be looked at")) } else { Ok(()) }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn of_threads(workload: i32, name: &str) -> io::Result<BTreeSet<String>> {
    let mut facts = BTreeSet::new();
    statuses(workload, |status| {
        facts.insert(format!("{name} {}", field(status, name).unwrap_or("unknown")));
    })?;
    Ok(facts)
}

/// The capabilities in any set of any thread.
fn sets(workload: i32) -> io::Result<BTreeSet<String>> {
    let mut facts = BTreeSet::new();
    statuses(workload, |status| {
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            let Some(bits) = field(status, set).and_then(|hex| u64::from_str_radix(hex, 16).ok()) else {
                facts.insert(format!("{set} unknown"));
                continue;
            };
            for bit in (0..64_usize).filter(|bit| bits >> bit & 1 == 1) {
                let name = palisade_policy::capability::NAMES.get(bit);
                facts.insert(name.map_or_else(|| format!("{set} {bit}"), |name| format!("{set} {name}")));
            }
        }
    })?;
    Ok(facts)
}

/// Descriptors of the workload beside the standard ones.
fn descriptors(workload: i32) -> io::Result<BTreeSet<String>> {
    let mut facts = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{workload}/fd"))? {
        let entry = entry?;
        let number = entry.file_name().to_string_lossy().into_owned();
        if !matches!(number.as_str(), "0" | "1" | "2") {
            let leads =
                fs::read_link(entry.path()).map_or_else(|_| "?".to_owned(), |to| to.display().to_string());
            // A socket by another number is no other fact.
            let kind = leads.split_once(":[").map_or(leads.as_str(), |(kind, _)| kind);
            facts.insert(format!("{number} {kind}"));
        }
    }
    Ok(facts)
}

/// Of every mount that the workload sees, what is not the strictest: `rw`, `suid`, `dev`, and whether it propagates.
fn mounts(workload: i32) -> io::Result<BTreeSet<String>> {
    let table = fs::read_to_string(format!("/proc/{workload}/mountinfo"))?;
    Ok(table.lines().flat_map(mount).collect())
}

/// One line of mountinfo (proc_pid_mountinfo(5)): id, parent, device, root, mount point, options, optional fields up to a dash.
fn mount(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let (Some(point), Some(options)) = (words.get(4), words.get(5)) else {
        return vec![format!("unreadable {line}")];
    };
    let has = |option: &str| options.split(',').any(|one| one == option);
    let mut facts = Vec::new();
    let mut say = |what: &str| facts.push(format!("{what} {point}"));
    if has("rw") {
        say("rw");
    }
    if !has("nosuid") {
        say("suid");
    }
    if !has("nodev") {
        say("dev");
    }
    let optional = words.iter().skip(6).take_while(|word| **word != "-");
    for word in optional {
        match word.split(':').next() {
            Some("shared") => say("shared"),
            Some("master") => say("slave"),
            _ => {}
        }
    }
    facts
}

/// Supplementary groups of the host.
fn groups(workload: i32) -> io::Result<BTreeSet<String>> {
    let mut facts = BTreeSet::new();
    statuses(workload, |status| {
        let all = field(status, "Groups").unwrap_or("unknown");
        facts.extend(all.split_whitespace().map(|group| format!("group {group}")));
    })?;
    Ok(facts)
}

/// Controllers in whose group the suite is too: of the hierarchy that has the controller, or of version 2 (cgroups(7)).
fn cgroups(workload: i32) -> io::Result<BTreeSet<String>> {
    let (ours, theirs) =
        (fs::read_to_string("/proc/self/cgroup")?, fs::read_to_string(format!("/proc/{workload}/cgroup"))?);
    let shares = |controller: &&&str| group(&ours, controller) == group(&theirs, controller);
    Ok(["memory", "pids", "cpu"].iter().filter(shares).map(|name| (*name).to_owned()).collect())
}

/// The group for a controller in a table of lines `number:controllers:group`.
fn group<'a>(table: &'a str, controller: &str) -> Option<&'a str> {
    let lines = || table.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let own = lines().find(|(names, _)| names.split(',').any(|name| name == controller));
    own.or_else(|| lines().find(|(names, _)| names.is_empty())).map(|(_, group)| group)
}

/// Whether the workload is in the session of the suite: the sixth word of its stat, after the name in parentheses.
fn session(workload: i32) -> io::Result<BTreeSet<String>> {
    let of = |process: &str| -> io::Result<String> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let rest = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        Ok(rest.split(' ').nth(3).unwrap_or_default().to_owned())
    };
    let same = of("self")? == of(&workload.to_string())?;
    Ok(same.then(|| "the session of the caller".to_owned()).into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("36 35 98:0 /mnt1 /work rw,noatime shared:1 master:2 - ext3 /dev/root rw", &["rw /work", "suid /work", "dev /work", "shared /work", "slave /work"])]
    #[case("36 35 0:5 / /proc rw,nosuid,nodev,noexec - proc proc rw", &["rw /proc"])]
    #[case("36 35 0:5 / / ro,nosuid,nodev - tmpfs none rw", &[])]
    #[case("36 35", &["unreadable 36 35"])]
    fn what_a_mount_is(#[case] line: &str, #[case] facts: &[&str]) {
        assert_eq!(mount(line), facts);
    }

    #[rstest]
    #[case("memory", Some("/a"))]
    #[case("pids", Some("/b:c"))]
    #[case("cpu", Some("/"))]
    fn the_group_of_a_controller(#[case] controller: &str, #[case] expected: Option<&str>) {
        assert_eq!(group("4:memory:/a\n3:io,pids:/b:c\n0::/\n", controller), expected);
        assert_eq!(group("4:name=systemd:/a\n", controller), None);
    }

    #[test]
    fn of_this_process() {
        let own = i32::try_from(std::process::id()).unwrap();
        let namespaces = facts(own, Look::Namespaces).unwrap();
        assert!(namespaces.contains("net") && namespaces.contains("user"), "{namespaces:?}");
        assert_eq!(facts(own, Look::Session).unwrap().len(), 1);
        let filters = facts(own, Look::Filter).unwrap();
        assert!(
            filters.iter().all(|fact| fact.starts_with("Seccomp ")) && !filters.is_empty(),
            "{filters:?}"
        );
        let open = fs::File::open("/proc/self/stat").unwrap();
        let descriptors = facts(own, Look::Descriptors).unwrap();
        use std::os::fd::AsRawFd as _;
        let expected = format!("{} ", open.as_raw_fd());
        assert!(descriptors.iter().any(|fact| fact.starts_with(&expected)), "{descriptors:?}");
    }
}
