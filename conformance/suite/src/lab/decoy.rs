//! A process of the lab's "host" with things in it to steal: a marker in its arguments, its environment and its memory, and a
//! secret file that it holds open.
//!
//! It has the caller's uid, no capabilities, and is dumpable like any ordinary program, so that nothing but
//! a sandbox keeps others of the same uid away from it. It sleeps until it is killed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::error::{During, LabError};
use super::stage::LAB_DECOY;
use super::world::World;

/// A pid that no process of a sandbox has, below the least `kernel.pid_max` that is usual (32768).
const FAR: u32 = 20_000;

const ENVIRON_NAME: &str = "DECOY_SECRET";

/// Starts the decoy and notes its pid and its memory address in `world`.
pub(super) fn start(world: &mut World) -> Result<Child, LabError> {
    // In the pid namespace of a sandbox its number would be that of another process, if the sandbox had so many: none has. Of this
    // namespace alone (pid_namespaces(7)); where it cannot be had the number is a low one.
    let _ = fs::write("/proc/sys/kernel/ns_last_pid", FAR.to_string());
    let decoy = &world.decoy;
    let mut child = Command::new("/proc/self/exe")
        .arg0("decoy")
        .args([LAB_DECOY, &decoy.argv_marker, &decoy.secret_fd.to_string()])
        .arg(&world.secret("outside-private").path)
        .env_clear()
        .env(ENVIRON_NAME, &decoy.environ_marker)
        .current_dir(&decoy.cwd)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .during(|| "start the decoy process".to_owned())?;
    // Its memory marker goes in by a pipe: in its arguments it would be found there.
    let mut input = child.stdin.take().ok_or_else(|| lost("input"))?;
    writeln!(input, "{}", decoy.memory_marker).during(|| "write to the decoy".to_owned())?;
    let mut line = String::new();
    let output = child.stdout.take().ok_or_else(|| lost("output"))?;
    BufReader::new(output).read_line(&mut line).during(|| "read from the decoy".to_owned())?;
    let address = line.trim().strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    world.decoy.memory_address = address.ok_or_else(|| lost(&format!("address (it said {line:?})")))?;
    world.decoy.pid = child.id();
    Ok(child)
}

fn lost(what: &str) -> LabError {
    LabError::step(format!("start the decoy process: no {what}"), io::Error::from(io::ErrorKind::InvalidData))
}

use std::os::unix::process::CommandExt;

/// The life of the decoy. Arguments: its marker, the number of the descriptor, the file to hold open there.
pub(super) fn sleep(arguments: impl Iterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.collect();
    let held = hold(&arguments);
    let mut secret = String::new();
    if held.is_none() || io::stdin().lock().read_line(&mut secret).is_err() {
        return 2;
    }
    // The marker lies in memory of its own, at an address that does not change any more.
    let secret: Box<str> = secret.trim().into();
    println!("{:p}", secret.as_ptr());
    loop {
        thread::sleep(Duration::from_secs(3600));
        black_box((&secret, &held));
    }
}

fn hold(arguments: &[OsString]) -> Option<std::os::fd::OwnedFd> {
    let [_, number, path] = arguments else { return None };
    let number: i32 = number.to_str()?.parse().ok()?;
    let file = File::open(path).ok()?;
    rustix::io::fcntl_dupfd_cloexec(&file, number).ok()
}
