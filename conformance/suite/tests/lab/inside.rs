//! Checks that stand in the lab.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use palisade_conformance::lab::canary::{Endpoint, GROUPS, HIT_BYTES, Proto};
use palisade_conformance::lab::world::{LeakKind, Presence};
use palisade_conformance::lab::{Lab, LabError, LabOptions, build};

use crate::{ENTER, LOOK};

type Check = fn(&mut Lab);

pub(crate) const CHECKS: &[(&str, Check)] = &[
    ("is_built_fast", |_| {}),
    ("everything_is_planted", everything_is_planted),
    ("secrets_hold_their_markers", secrets_hold_their_markers),
    ("every_listener_answers", every_listener_answers),
    ("tcp_is_logged_with_the_dialled_address", tcp_is_logged),
    ("udp_is_logged_with_the_dialled_address", udp_is_logged),
    ("multicast_and_broadcast_are_logged", multicast_and_broadcast),
    ("unix_sockets_are_logged", unix_sockets_are_logged),
    ("a_bare_connection_is_a_hit", bare_connection),
    ("a_burst_is_not_lost", burst),
    ("floods_do_not_hide_the_log", floods),
    ("a_silent_peer_is_answered", silent_peer),
    ("http_and_dns_are_answered", http_and_dns),
    ("children_have_no_capabilities", children_have_no_capabilities),
    ("leaks_are_inherited_only_when_asked_for", leaks),
    ("nothing_leads_to_the_callers_terminal", no_terminal),
    ("mounts_are_the_labs_own", mounts_are_own),
    ("files_of_the_host_are_sealed", host_files_are_sealed),
    ("a_workspace_can_be_made_and_discarded", workspaces),
    ("directories_are_shown_twice", shown_twice),
    ("processes_are_bounded", processes_are_bounded),
    ("the_decoy_can_be_robbed", decoy_can_be_robbed),
    ("ipc_objects_hold_their_marker", ipc_objects),
    ("the_session_keyring_is_the_labs", keyring),
    ("tools_are_carried_in", tools),
    ("process_1_elsewhere_is_refused", process_1_elsewhere),
    ("a_forbidden_namespace_is_explained", forbidden_namespace),
];

pub(crate) fn run(check: &str) -> ExitCode {
    let started = Instant::now();
    let options =
        LabOptions { tools: vec![("again".to_owned(), "/proc/self/exe".into())], ..LabOptions::default() };
    let mut lab = match build(&options) {
        Ok(lab) => lab,
        Err(e) => {
            eprintln!("{e}");
            return if matches!(e, LabError::NotIsolated { .. }) { 97.into() } else { 96.into() };
        }
    };
    let took = started.elapsed();
    eprintln!("built in {took:?}");
    match check {
        "exit_42" => return 42.into(),
        "suicide" => suicide(),
        "linger" => linger(),
        "is_built_fast" => assert!(took < Duration::from_millis(1500), "{took:?}"),
        _ => {}
    }
    let (_, function) = CHECKS.iter().find(|(name, _)| *name == check).expect("a check of that name");
    function(&mut lab);
    assert_eq!(lab.canary().dropped(), 0);
    0.into()
}

fn shown_twice(lab: &mut Lab) {
    for (directory, place) in &lab.world().work.twice {
        fs::write(directory.join("seen"), "seen").expect("written");
        assert_eq!(fs::read_to_string(place.join("seen")).expect("the same file"), "seen");
    }
}

/// Whatever bounds a bomb besides: an ordinary user's lab has this and nothing else on many hosts.
fn processes_are_bounded(_: &mut Lab) {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nproc);
    assert!(limit.current.is_some_and(|value| value <= 8192), "{limit:?}");
}

fn suicide() {
    let own = nix::unistd::getpid();
    nix::sys::signal::kill(own, nix::sys::signal::Signal::SIGKILL).expect("kill");
}

fn linger() -> ! {
    // One that has left the session and whose parent is gone.
    Command::new("/bin/sh")
        .args(["-c", "(setsid sleep 1000 || sleep 1000) >/dev/null 2>&1 &"])
        .stdout(Stdio::null())
        .status()
        .expect("a daemon");
    println!("ready");
    loop {
        std::thread::sleep(Duration::from_secs(100));
    }
}

/// The child of some checks: what it was given.
pub(crate) fn look() -> ExitCode {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    for line in status.lines().filter(|l| l.starts_with("Cap") || l.starts_with("NoNewPrivs")) {
        println!("{line}");
    }
    for entry in fs::read_dir("/proc/self/fd").expect("descriptors").flatten() {
        if let Ok(target) = fs::read_link(entry.path()) {
            println!("fd {} {}", entry.file_name().display(), target.display());
        }
    }
    0.into()
}

fn looked(lab: &Lab, with_leaks: bool) -> String {
    let mut command = Command::new("/proc/self/exe");
    command.arg(LOOK).stdin(Stdio::null()).stdout(Stdio::piped());
    let child = if with_leaks { lab.spawn_with_leaks(&mut command) } else { lab.spawn(&mut command) };
    let output = child.expect("spawn").wait_with_output().expect("output");
    String::from_utf8(output.stdout).expect("text")
}

fn everything_is_planted(lab: &mut Lab) {
    let world = lab.world();
    let mut absent: Vec<(String, &Presence)> = Vec::new();
    absent.extend(world.secrets.iter().map(|s| (s.id.to_owned(), &s.presence)));
    absent.extend(world.services.iter().map(|s| (s.id.to_owned(), &s.presence)));
    absent.push(("ipv6".into(), &world.ipv6));
    absent.push(("udplite".into(), &world.udplite));
    absent.push(("sysv".into(), &world.ipc.sysv));
    absent.push(("posix mq".into(), &world.ipc.posix));
    absent.push(("keyring".into(), &world.keyring.presence));
    absent.push(("pty".into(), &world.pty_presence));
    absent.retain(|(_, presence)| !presence.is_planted());
    let mut names: Vec<&str> = absent.iter().map(|(name, _)| name.as_str()).collect();
    println!("{absent:#?}");
    // What this kernel or container may lack; on the machine of the project nothing may be missing.
    if std::env::var_os("PALISADE_MUST_WORK").is_none() {
        names.retain(|name| !["ipv6", "udplite", "posix mq", "keyring", "pty", "resolv-conf"].contains(name));
    }
    let expected: &[&str] = if world.rootless { &["outside-root", "outside-other-user"] } else { &[] };
    assert_eq!(names, expected);
    assert_eq!(world.rootless, !nix::unistd::geteuid().is_root());
    assert_eq!(nix::unistd::gethostname().expect("host name").to_str(), Some("palisade-lab"));
}

fn secrets_hold_their_markers(lab: &mut Lab) {
    use std::os::unix::fs::MetadataExt;
    let world = lab.world();
    for secret in world.secrets.iter().filter(|s| s.presence.is_planted()) {
        let text = lab.read_secret(secret.id).expect(secret.id);
        assert!(text.contains(&secret.marker), "{}: {text:?}", secret.id);
        let mode = fs::metadata(&secret.path).expect(secret.id).mode() & 0o7777;
        assert_eq!(mode, secret.mode, "{}", secret.id);
    }
    let markers: BTreeSet<_> = world.secrets.iter().map(|s| &s.marker).collect();
    assert_eq!(markers.len(), world.secrets.len(), "markers are unique");
    let work = &world.work;
    for path in [&work.allowed, &work.nested, &work.submount_file] {
        assert!(fs::read_to_string(path).expect("workspace").contains(&work.allowed_marker));
    }
    let said = Command::new(&work.script).output().expect("the script runs").stdout;
    assert_eq!(String::from_utf8_lossy(&said).trim(), work.allowed_marker);
    assert_eq!(
        fs::read(&work.link_out).expect("link out"),
        fs::read(&world.secret("outside-readable").path).expect("it")
    );
    // A probe without statements ends well.
    let probe = Command::new(&work.probe).arg("n").output().expect("the probe runs");
    assert!(String::from_utf8_lossy(&probe.stdout).contains("PALISADE n DONE"), "{probe:?}");
}

fn every_listener_answers(lab: &mut Lab) {
    assert_eq!(lab.dead_listeners(), Vec::<String>::new());
    // And one that does not exist is not alive.
    assert!(!lab.canary().alive([203, 0, 113, 9].into(), 4444, Proto::Tcp));
    assert!(!lab.canary().alive_at(&Endpoint::Abstract("nobody".into()), Proto::UnixStream));
}

/// Addresses that must reach the canary, and the address under which the log must show them.
const ADDRESSES: &[(&str, &str)] = &[
    ("169.254.169.254", "169.254.169.254"),
    ("168.63.129.16", "168.63.129.16"),
    ("100.100.100.200", "100.100.100.200"),
    ("192.0.0.192", "192.0.0.192"),
    ("10.96.0.1", "10.96.0.1"),
    ("8.8.8.8", "8.8.8.8"),
    ("127.1.2.3", "127.1.2.3"),
    ("0.0.0.0", "127.0.0.1"),
    ("fd00:ec2::254", "fd00:ec2::254"),
    ("fd20:ce::254", "fd20:ce::254"),
    ("2606:4700::1111", "2606:4700::1111"),
    ("64:ff9b::a9fe:a9fe", "64:ff9b::a9fe:a9fe"),
    ("2002:a9fe:a9fe::1", "2002:a9fe:a9fe::1"),
    ("::ffff:169.254.169.254", "169.254.169.254"),
    ("::a9fe:a9fe", "::a9fe:a9fe"),
    ("::1", "::1"),
    ("240.0.0.1", "240.0.0.1"),
];

fn tcp_is_logged(lab: &mut Lab) {
    for (index, (dialled, shown)) in ADDRESSES.iter().enumerate() {
        let nonce = format!("tcp-nonce-{index}.");
        let address = SocketAddr::new(dialled.parse().expect("address"), 80);
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(3)).expect(dialled);
        stream.write_all(nonce.as_bytes()).expect("send");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answer");
        assert_eq!(answer, format!("CANARY {nonce}\n"), "{dialled}");
        let hits = lab.canary().hits(&nonce);
        assert_eq!(hits.len(), 1, "{dialled}: {hits:?}");
        let expected = Endpoint::Inet(SocketAddr::new(shown.parse().expect("address"), 80));
        assert_eq!((hits[0].proto, &hits[0].local), (Proto::Tcp, &expected));
    }
    let link_local = Endpoint::Inet("[fe80::a9fe:a9fe%1]:80".parse().expect("address"));
    assert!(lab.canary().alive_at(&link_local, Proto::Tcp), "link-local with its scope");
    // A port on which nothing listens is refused, not swallowed.
    let closed = TcpStream::connect("169.254.169.254:4444").expect_err("nobody listens there");
    assert_eq!(closed.kind(), std::io::ErrorKind::ConnectionRefused);
}

fn udp_is_logged(lab: &mut Lab) {
    for (index, (dialled, shown)) in ADDRESSES.iter().enumerate() {
        let nonce = format!("udp-nonce-{index}.");
        let address = SocketAddr::new(dialled.parse().expect("address"), 123);
        let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let socket = UdpSocket::bind((any, 0)).expect("bind");
        socket.connect(address).expect(dialled);
        socket.set_read_timeout(Some(Duration::from_secs(3))).expect("timeout");
        socket.send(nonce.as_bytes()).expect(dialled);
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{dialled}: no answer: {e}"));
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), format!("CANARY {nonce}\n"));
        let hits = lab.canary().hits(&nonce);
        assert_eq!(hits.len(), 1, "{dialled}: {hits:?}");
        let expected = Endpoint::Inet(SocketAddr::new(shown.parse().expect("address"), 123));
        assert_eq!((hits[0].proto, &hits[0].local), (Proto::Udp, &expected));
    }
}

fn multicast_and_broadcast(lab: &mut Lab) {
    let send = |to: SocketAddr, nonce: &str| {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let socket = UdpSocket::bind((any, 0)).expect("bind");
        socket.set_broadcast(true).expect("broadcast");
        socket.send_to(nonce.as_bytes(), to)
    };
    for (index, group) in GROUPS.iter().enumerate() {
        let nonce = format!("group-{index}.");
        let mut to = SocketAddr::new(*group, 9999);
        if let SocketAddr::V6(v6) = &mut to {
            v6.set_scope_id(1);
        }
        send(to, &nonce).expect("send");
        let hits = lab.canary().hits(&nonce);
        assert!(
            hits.iter().any(|h| h.local == Endpoint::Inet(SocketAddr::new(*group, 9999))),
            "{to}: {hits:?}"
        );
    }
    let everybody: SocketAddr = "255.255.255.255:9999".parse().expect("address");
    send(everybody, "limited-broadcast.").expect("broadcast");
    let hits = lab.canary().hits("limited-broadcast.");
    assert!(hits.iter().any(|h| h.local == Endpoint::Inet(everybody)), "{hits:?}");
}

fn unix_sockets_are_logged(lab: &mut Lab) {
    let world = lab.world();
    let mut stream = UnixStream::connect("/run/docker.sock").expect("docker");
    stream.write_all(b"GET /unix-nonce HTTP/1.1\r\n\r\n").expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("unix-nonce"), "{answer}");
    let hits = lab.canary().hits("unix-nonce");
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].local, world.service("docker").endpoint);
    for service in &world.services {
        if let Endpoint::Path(path) = &service.endpoint {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(path).expect(service.id).permissions().mode() & 0o777;
            assert_eq!(mode, 0o666, "{}: only a sandbox keeps others out", service.id);
        }
    }
    let Endpoint::Path(path) = &world.service("outside-dgram").endpoint else { panic!("a path") };
    UnixDatagram::unbound().expect("socket").send_to(b"dgram-nonce", path).expect("send");
    assert_eq!(lab.canary().hits("DGRAM-nonce").len(), 1);
}

fn bare_connection(lab: &mut Lab) {
    let target: SocketAddr = "203.0.113.77:443".parse().expect("address");
    assert_eq!(lab.canary().hits_at(&Endpoint::Inet(target)).len(), 0);
    drop(TcpStream::connect(target).expect("connect"));
    let hits = lab.canary().hits_at(&Endpoint::Inet(target));
    assert_eq!(hits.len(), 1);
    assert!(hits[0].bytes.is_empty());
    // Closed with a reset before it was accepted, perhaps.
    for _ in 0..50 {
        let socket = TcpStream::connect(target).expect("connect");
        rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).expect("linger");
    }
    assert_eq!(lab.canary().hits_at(&Endpoint::Inet(target)).len(), 51);
}

fn burst(lab: &mut Lab) {
    const THREADS: usize = 8;
    const EACH: usize = 150;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                // All open at the same time, most of them for longer than the canary can hold them.
                let held: Vec<TcpStream> = (0..EACH / 3)
                    .map(|n| {
                        let mut stream = TcpStream::connect("100.100.100.200:80").expect("connect");
                        stream.write_all(format!("burst-{thread}-{n}.").as_bytes()).expect("send");
                        stream
                    })
                    .collect();
                for n in EACH / 3..EACH {
                    let mut stream = TcpStream::connect("[fd00:ec2::254]:8080").expect("connect");
                    stream.write_all(format!("burst-{thread}-{n}.").as_bytes()).expect("send");
                }
                drop(held);
            });
        }
    });
    for thread in 0..THREADS {
        for n in 0..EACH {
            assert_eq!(lab.canary().hits(&format!("burst-{thread}-{n}.")).len(), 1, "{thread} {n}");
        }
    }
    // A flood of bytes is cut, and answered.
    let mut flood = TcpStream::connect("1.2.3.4:80").expect("connect");
    flood.write_all(b"flood-nonce ").expect("send");
    let _ = flood.write_all(&[b'x'; 64 * 1024]);
    let hits = lab.canary().hits("flood-nonce");
    assert_eq!((hits.len(), hits[0].bytes.len()), (1, HIT_BYTES));
    assert!(lab.canary().alive([1, 2, 3, 4].into(), 80, Proto::Tcp));
}

/// The log stays in reach while peers send without end.
fn floods(lab: &mut Lab) {
    use std::sync::atomic::{AtomicBool, Ordering};
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let chunk = [b'x'; 16 * 1024];
            while !stop.load(Ordering::Relaxed) {
                let mut stream = TcpStream::connect("9.9.9.9:80").expect("connect");
                // Until the canary has had enough of it.
                (0..)
                    .take_while(|_| !stop.load(Ordering::Relaxed) && stream.write_all(&chunk).is_ok())
                    .for_each(drop);
            }
        });
        scope.spawn(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("bind");
            // Below what the log holds in the time of this check, whatever the machine.
            for _ in 0..20_000 {
                let _ = socket.send_to(b"flood", "9.9.9.9:9999");
            }
        });
        for round in 0..20 {
            let started = Instant::now();
            assert!(lab.canary().alive([9, 9, 9, 8].into(), 443, Proto::Tcp), "round {round}");
            assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn silent_peer(_: &mut Lab) {
    let mut stream = TcpStream::connect("192.0.2.1:22").expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(3))).expect("timeout");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer, "CANARY \n");
}

fn http_and_dns(lab: &mut Lab) {
    let mut stream = TcpStream::connect("169.254.169.254:80").expect("connect");
    stream.write_all(b"PUT /latest/api/token?http-nonce HTTP/1.1\r\nHost: x\r\n\r\n").expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("http-nonce"), "{answer}");

    // The resolver of the C library finds a server at the address of the lab's resolv.conf.
    if lab.world().secret("resolv-conf").presence.is_planted() {
        let mut found =
            std::net::ToSocketAddrs::to_socket_addrs(&("dns-nonce.example.test", 80)).expect("resolved");
        assert!(found.any(|a| a.ip() == IpAddr::from([44, 55, 66, 80])));
        let hits = lab.canary().hits("dns-nonce");
        assert!(
            hits.iter().any(|h| h.local == Endpoint::Inet("10.0.0.53:53".parse().expect("address"))),
            "{hits:?}"
        );
    }
}

fn children_have_no_capabilities(lab: &mut Lab) {
    let text = looked(lab, false);
    for set in ["CapInh", "CapAmb"] {
        assert!(text.contains(&format!("{set}:\t0000000000000000")), "{text}");
    }
    let none = text.contains("CapPrm:\t0000000000000000") && text.contains("CapEff:\t0000000000000000");
    assert_eq!(none, lab.world().rootless, "{text}");
    // The runtime under test must find the host's own bounding set.
    assert!(!text.contains("CapBnd:\t0000000000000000"), "{text}");
    assert!(text.contains("NoNewPrivs:\t0"), "{text}");
    let decoy = fs::read_to_string(format!("/proc/{}/status", lab.world().decoy.pid)).expect("decoy");
    assert_eq!(decoy.contains("CapEff:\t0000000000000000"), lab.world().rootless, "{decoy}");
}

fn leaks(lab: &mut Lab) {
    let lines =
        |text: String| text.lines().filter(|l| l.starts_with("fd ")).map(str::to_owned).collect::<Vec<_>>();
    // Three standard ones and the directory that is being read.
    assert_eq!(lines(looked(lab, false)).len(), 4, "{:?}", lines(looked(lab, false)));
    let leaked = lines(looked(lab, true));
    let opened = lab.world().leaks.iter().filter(|leak| leak.presence.is_planted()).count();
    assert_eq!(leaked.len(), 4 + opened, "{leaked:?}");
    // A caller's shell leaves the next number open.
    assert_eq!(lab.world().leaks[0].fd, 3);
    for leak in lab.world().leaks.iter().filter(|leak| leak.presence.is_planted()) {
        let line = leaked.iter().find(|l| l.starts_with(&format!("fd {} ", leak.fd))).expect("the leak");
        match leak.kind {
            LeakKind::RootDirectory => assert!(line.ends_with(" /"), "{line}"),
            LeakKind::SecretFile => assert!(line.ends_with("private.txt"), "{line}"),
            LeakKind::ConnectedSocket | LeakKind::ServiceSocket => {
                assert!(line.contains("socket:["), "{line}");
            }
            LeakKind::PathDirectory => assert!(line.ends_with("/outside"), "{line}"),
            // Kernels from 6.9 on give a pidfd a file system of its own.
            LeakKind::Process => assert!(line.contains("pidfd"), "{line}"),
            LeakKind::Namespace => assert!(line.contains("net:["), "{line}"),
            LeakKind::Terminal => assert!(line.ends_with("ptmx"), "{line}"),
            LeakKind::Anonymous => assert!(line.contains("[eventfd]"), "{line}"),
        }
    }
    assert_eq!(lines(looked(lab, false)).len(), 4, "closed again");
    // What goes into the socket comes out at the canary.
    let socket = leaked_socket(lab);
    let mut probe = Command::new(&lab.world().probe);
    probe.args(["n", &format!("s:sys 1 {socket} ={} 10 0 0 0", hex("leak-nonce"))]).stdout(Stdio::null());
    assert!(lab.spawn_with_leaks(&mut probe).expect("spawn").wait().expect("wait").success());
    assert_eq!(lab.canary().hits("leak-nonce").len(), 1);
}

fn leaked_socket(lab: &Lab) -> i32 {
    let mut leaks = lab.world().leaks.iter();
    leaks.find(|leak| leak.kind == LeakKind::ConnectedSocket).expect("a socket leaks").fd
}

fn no_terminal(lab: &mut Lab) {
    assert!(fs::File::open("/dev/tty").is_err(), "a controlling terminal");
    // Whether or not the caller has one: the session is that of process 1 of the lab.
    assert_eq!(nix::unistd::getsid(None).expect("session").as_raw(), 1);
    let terminals: Vec<_> = fs::read_dir("/dev/pts").expect("devpts").flatten().map(|e| e.path()).collect();
    let own = &lab.world().pty;
    assert!(terminals.contains(own), "{terminals:?}");
    // The lab's own are the first eight, of which the world names the last.
    let number = |path: &std::path::Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    assert_eq!(number(own), Some(7));
    assert!(
        terminals.iter().all(|t| number(t).is_some_and(|n| n < 8) || t.ends_with("ptmx")),
        "{terminals:?}"
    );
}

fn mounts_are_own(lab: &mut Lab) {
    const OWN: &[&str] = &["/mnt", "/tmp", "/run", "/dev/", "/var/tmp", "/etc/shadow", "/etc/resolv.conf"];
    let info = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let shared: BTreeSet<&str> =
        info.lines().filter(|l| l.contains(" shared:")).filter_map(|l| l.split(' ').nth(4)).collect();
    for path in ["/tmp", "/run", "/dev/shm", "/dev/pts", "/mnt/lab/work/sub"] {
        assert!(shared.contains(path), "{path} is not shared: {info}");
    }
    // Nothing of the host is a peer or a master of ours.
    let masters = info.lines().filter(|l| l.contains(" master:")).count();
    assert_eq!(masters, 0, "{info}");
    assert!(shared.iter().all(|p| OWN.iter().any(|own| p.starts_with(own))), "{shared:?}");
    let target = lab.world().work.mountpoint.clone();
    let planted = lab.plant_mount(&target, "planted-marker").expect("mount");
    assert!(fs::read_to_string(target.join("planted")).expect("planted").contains("planted-marker"));
    drop(planted);
    assert!(!target.join("planted").exists());
}

fn host_files_are_sealed(lab: &mut Lab) {
    // Everything that was inherited, below neither /proc nor /sys and not hidden by the lab's own mounts.
    let info = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let lines: Vec<Vec<&str>> = info.lines().map(|l| l.split(' ').collect()).collect();
    let top: std::collections::BTreeMap<&str, &Vec<&str>> =
        lines.iter().map(|words| (words[4], words)).collect();
    let hidden =
        ["/proc", "/sys", "/mnt", "/tmp", "/run", "/dev/shm", "/dev/pts", "/dev/mqueue", "/var/tmp", "/etc/"];
    for (point, words) in top {
        let own = words.contains(&"palisade-lab") || hidden.iter().any(|h| point.starts_with(h));
        assert!(own || words[5].split(',').any(|o| o == "ro"), "{point} is writable: {info}");
    }
    let refused = fs::write("/palisade-lab-test", "x").expect_err("a write to the root directory");
    let errno = refused.raw_os_error();
    assert!(errno == Some(30) || (lab.world().rootless && errno == Some(13)), "{refused}");
    // Root may write to a layer; `leaves_nothing_behind` looks at the host afterwards.
    for file in ["/usr/bin/palisade-lab-test", "/etc/palisade-lab-test"] {
        assert_eq!(fs::write(file, "x").is_ok(), lab.world().system_writes.is_planted(), "{file}");
    }
    assert_eq!(
        lab.world().system_writes.is_planted(),
        !lab.world().rootless,
        "{}",
        lab.world().system_writes
    );
}

fn workspaces(lab: &mut Lab) {
    let work = lab.workspace("case-1").expect("a workspace");
    assert_eq!(work.dir, Path::new("/mnt/lab/cases/case-1"));
    assert!(fs::read_to_string(&work.submount_file).expect("submount").contains(&work.allowed_marker));
    assert_eq!(work.allowed_marker, lab.world().work.allowed_marker);
    assert!(lab.workspace("case-1").is_err(), "a name is used once");
    // What a workload may do to it.
    fs::write(&work.allowed, "changed").expect("write");
    fs::remove_file(&work.git_hook).expect("remove");
    std::os::unix::fs::symlink("/etc/passwd", &work.git_hook).expect("link");
    lab.refresh(&work).expect("refresh");
    assert!(fs::read_to_string(&work.allowed).expect("read").contains(&work.allowed_marker));
    assert!(fs::symlink_metadata(&work.git_hook).expect("hook").is_file());
    lab.discard(&work).expect("discard");
    assert!(!work.dir.exists());
    assert!(lab.world().work.allowed.exists(), "the other workspace is untouched");
}

fn decoy_can_be_robbed(lab: &mut Lab) {
    let decoy = lab.world().decoy.clone();
    let read = |what: &str| {
        fs::read(format!("/proc/{}/{what}", decoy.pid)).unwrap_or_else(|e| panic!("{what}: {e}"))
    };
    let holds = |bytes: Vec<u8>, marker: &str| bytes.windows(marker.len()).any(|w| w == marker.as_bytes());
    assert!(holds(read("cmdline"), &decoy.argv_marker));
    assert!(holds(read("environ"), &decoy.environ_marker));
    assert!(!holds(read("cmdline"), &decoy.memory_marker));
    assert!(holds(read(&format!("fd/{}", decoy.secret_fd)), &lab.world().secret("outside-private").marker));
    let mut memory = fs::File::open(format!("/proc/{}/mem", decoy.pid)).expect("mem");
    let mut found = vec![0; decoy.memory_marker.len()];
    memory.seek(SeekFrom::Start(decoy.memory_address)).expect("seek");
    memory.read_exact(&mut found).expect("read memory");
    assert_eq!(String::from_utf8_lossy(&found), decoy.memory_marker);
    assert!(lab.decoy_alive());
}

/// Runs set-up statements with the probe program and gives its output.
fn probe(lab: &Lab, statements: &[String]) -> String {
    let mut command = Command::new(&lab.world().probe);
    command.arg("n").args(statements).stdout(Stdio::piped());
    let output = lab.spawn(&mut command).expect("spawn").wait_with_output().expect("output");
    String::from_utf8(output.stdout).expect("text")
}

fn hex(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

fn ipc_objects(lab: &mut Lab) {
    let ipc = &lab.world().ipc;
    let text = probe(
        lab,
        &[
            format!("s:sys 68 {} 0 0 0 0 0", ipc.msg_key), // msgget
            "s:sys 70 $0 #200 190 0 04000 0".replace("04000", "2048"), // msgrcv, IPC_NOWAIT
            format!("s:sys 29 {} 0 0 0 0 0", ipc.shm_key), // shmget
            "s:sys 30 $2 0 4096 0 0 0".to_owned(),         // shmat, SHM_RDONLY
            "s:sys 1 1 $3 64 0 0 0".to_owned(),            // write it to standard output
            format!("s:sys 64 {} 0 0 0 0 0", ipc.sem_key), // semget
            "s:sys 66 $5 0 12 0 0 0".to_owned(),           // semctl GETVAL
            format!("s:sys 240 @{} 0 0 0 0 0", ipc.mq_name.trim_start_matches('/')), // mq_open
            "s:sys 243 $7 #256 256 0 0 0".to_owned(),      // mq_timedreceive
        ],
    );
    assert!(!text.contains("ret=-1"), "{text}");
    assert_eq!(text.matches(&hex(&ipc.marker)).count(), 2, "both queues: {text}");
    assert!(text.contains(&ipc.marker), "the segment: {text}");
    assert!(text.contains(&format!("OBSERVED 6 s ret={} ", ipc.sem_value)), "{text}");
}

fn keyring(lab: &mut Lab) {
    let keyring = &lab.world().keyring;
    if let Presence::Absent(why) = &keyring.presence {
        assert!(std::env::var_os("PALISADE_MUST_WORK").is_none(), "{why}");
        println!("skipped: {why}");
        return;
    }
    let text = probe(
        lab,
        &[
            format!("s:sys 250 10 -3 @{} @{} 0 0", keyring.key_type, keyring.description), // KEYCTL_SEARCH
            "s:sys 250 11 $0 #64 64 0 0".to_owned(),                                       // KEYCTL_READ
        ],
    );
    assert!(text.contains(&hex(&keyring.marker)), "{text}");
}

fn tools(lab: &mut Lab) {
    for name in ["palisade", "again"] {
        let path = lab.world().tool(name).expect(name);
        let mut command = Command::new(path);
        command.arg(LOOK).stdout(Stdio::null());
        assert!(lab.spawn(&mut command).expect(name).wait().expect(name).success());
    }
    assert_eq!(lab.world().tool("absent"), None);
}

/// The stage of process 1, as process 1 of a pid namespace but in mounts that are not its own.
fn process_1_elsewhere(lab: &mut Lab) {
    let before = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID).expect("a pid namespace");
    let here = palisade_conformance::lab::world::Namespaces::of("self").expect("namespaces");
    let told = format!(
        "cgroup:{},ipc:{},mnt:{},net:{},pid:{},time:{},user:{},uts:{}",
        here.cgroup, here.ipc, here.mnt, here.net, here.pid, here.time, here.user, here.uts
    );
    let mut command = Command::new("/proc/self/exe");
    command.args([palisade_conformance::lab::LAB_INIT, &told]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = lab.spawn(&mut command).expect("spawn");
    let _lifeline = child.stdin.take();
    let output = child.wait_with_output().expect("output");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("not a command"), "{:?} {text}", output.status);
    assert_eq!(before, fs::read_to_string("/proc/self/mountinfo").expect("mountinfo"));
}

/// A lab in a lab, whose user namespace allows no further one.
fn forbidden_namespace(lab: &mut Lab) {
    let limit = if lab.world().rootless { "max_user_namespaces" } else { "max_net_namespaces" };
    if !lab.world().rootless {
        // The limits of the initial user namespace are the host's own: not for a test to change.
        println!("skipped: root's lab has no user namespace to limit");
        return;
    }
    let enter = || {
        let mut command = Command::new("/proc/self/exe");
        command.args([ENTER, "exit_42", "-"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let output = lab.spawn(&mut command).expect("spawn").wait_with_output().expect("output");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(enter().0, Some(42), "a lab in a lab works");
    fs::write(format!("/proc/sys/user/{limit}"), "0").expect("limit");
    let (status, text) = enter();
    assert_eq!(status, Some(3), "{text}");
    assert!(
        text.contains("unshare(CLONE_NEWUSER)") && text.contains("sysctl user.max_user_namespaces"),
        "{text}"
    );
    fs::write(format!("/proc/sys/user/{limit}"), "100").expect("limit");
    fs::write("/proc/sys/user/max_net_namespaces", "0").expect("limit");
    let (status, text) = enter();
    assert_eq!(status, Some(3), "{text}");
    assert!(
        text.contains("unshare(CLONE_NEWNET)") && text.contains("sysctl user.max_net_namespaces"),
        "{text}"
    );
}
