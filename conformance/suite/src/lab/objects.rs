//! IPC objects and the session keyring, made by runs of the probe program, since no safe wrapper knows these calls.
//!
//! The IPC objects belong to the lab's IPC namespace and live until it ends. The keyring is anonymous and new: the
//! caller's own session keyring is neither read nor written.

use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use palisade_probe::script::{
    Arg, Cell, NULL, Script, Statement, buffer, bytes, memory, parse_output, result,
};

use super::world::{Ipc, Keyring, Presence, World};

/// Runs statements in the lab, outside of any sandbox. All must succeed; the data of the last one is returned.
fn run(world: &World, statements: Vec<Statement>) -> Result<Vec<u8>, String> {
    let nonce = "lab";
    let names: Vec<String> = statements.iter().map(ToString::to_string).collect();
    let script = Script::from_iter(statements);
    let arguments = script.argv(nonce).map_err(|e| format!("script for the probe: {e}"))?;
    let output = Command::new(&world.probe)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("run {}: {e}", world.probe.display()))?;
    let transcript = parse_output(&output.stdout, nonce);
    for (index, name) in names.iter().enumerate() {
        let seen = transcript.observed(index).ok_or_else(|| format!("{name}: not observed"))?;
        if seen.errno != 0 {
            return Err(format!("{name}: {}", Errno::from_raw(i32::from(seen.errno)).desc()));
        }
    }
    Ok(transcript.observations.last().map(|o| o.data.clone()).unwrap_or_default())
}

fn sys(number: libc::c_long, arguments: impl IntoIterator<Item = Arg>) -> Statement {
    let mut statement = Statement::setup("sys").arg(number);
    let mut count = 0;
    for argument in arguments {
        statement = statement.arg(argument);
        count += 1;
    }
    (count..6).fold(statement, |s, _| s.arg(0))
}

fn length(of: &str) -> Arg {
    Arg::Int(i64::try_from(of.len()).unwrap_or(i64::MAX))
}

/// Whether all that a closure makes is there.
fn presence(made: Result<Vec<u8>, String>) -> Presence {
    made.map_or_else(Presence::Absent, |_| Presence::Planted)
}

/// Makes the IPC objects. Everybody may use them (mode 0666), so that only the namespace keeps them from a workload.
pub(super) fn make_ipc(world: &mut World) {
    world.ipc.sysv = presence(run(world, sysv(&world.ipc)));
    world.ipc.posix = presence(run(world, posix(&world.ipc)));
}

fn sysv(ipc: &Ipc) -> Vec<Statement> {
    let flags = Arg::Int(i64::from(libc::IPC_CREAT | libc::IPC_EXCL | 0o666));
    let size = Arg::Int(i64::try_from(ipc.shm_size).unwrap_or(4096));
    // struct msgbuf: the type, then the text (msgop(2)).
    let message = memory([Cell::Word(Arg::Int(1)), Cell::Bytes(ipc.marker.clone().into_bytes())]);
    vec![
        sys(libc::SYS_shmget, [ipc.shm_key.into(), size, flags.clone()]),
        sys(libc::SYS_shmat, [result(0), NULL, Arg::Int(0)]),
        // There is no call that copies into foreign memory but `read`: from a file of memory into the segment.
        sys(libc::SYS_memfd_create, ["marker".into(), Arg::Int(0)]),
        sys(libc::SYS_write, [result(2), bytes(&ipc.marker), length(&ipc.marker)]),
        sys(libc::SYS_lseek, [result(2), Arg::Int(0), Arg::Int(0)]),
        sys(libc::SYS_read, [result(2), result(1), length(&ipc.marker)]),
        sys(libc::SYS_msgget, [ipc.msg_key.into(), flags.clone()]),
        sys(libc::SYS_msgsnd, [result(6), message, length(&ipc.marker), Arg::Int(0)]),
        sys(libc::SYS_semget, [ipc.sem_key.into(), Arg::Int(1), flags]),
        sys(libc::SYS_semctl, [result(8), Arg::Int(0), libc::SETVAL.into(), ipc.sem_value.into()]),
    ]
}

fn posix(ipc: &Ipc) -> Vec<Statement> {
    let flags = Arg::Int(i64::from(libc::O_CREAT | libc::O_EXCL | libc::O_RDWR));
    let size = i64::try_from(ipc.mq_message_size).unwrap_or(256);
    // struct mq_attr: flags, most messages, their size, current messages, four words reserved (mq_getattr(3)).
    let attributes = memory([0, 4, size, 0, 0, 0, 0, 0].map(|word| Cell::Word(Arg::Int(word))));
    // The system call takes the name without the slash that the library's function wants.
    let name = Arg::from(ipc.mq_name.trim_start_matches('/'));
    vec![
        sys(libc::SYS_umask, [Arg::Int(0)]),
        sys(libc::SYS_mq_open, [name, flags, Arg::Int(0o666), attributes]),
        sys(libc::SYS_mq_timedsend, [result(1), bytes(&ipc.marker), length(&ipc.marker), Arg::Int(0), NULL]),
    ]
}

const SESSION: i32 = libc::KEY_SPEC_SESSION_KEYRING;

/// Gives the calling process a new session keyring with the marked key in it.
///
/// Must be called while the process has one thread: the kernel installs a keyring in a parent only then
/// (keyctl_session_to_parent(3)).
pub(super) fn make_keyring(world: &mut World) {
    let made = run(world, keyring(&world.keyring)).and_then(|_| {
        let data = run(world, look_up(&world.keyring))?;
        let marker = world.keyring.marker.as_bytes();
        if data.starts_with(marker) { Ok(data) } else { Err("the key holds something else".to_owned()) }
    });
    world.keyring.presence = presence(made);
}

fn keyring(keyring: &Keyring) -> Vec<Statement> {
    let payload = bytes(&keyring.marker);
    let description = Arg::from(keyring.description.as_str());
    let key = [keyring.key_type.into(), description, payload, length(&keyring.marker), SESSION.into()];
    vec![
        sys(libc::SYS_keyctl, [libc::KEYCTL_JOIN_SESSION_KEYRING.into(), NULL]),
        sys(libc::SYS_add_key, key),
        sys(libc::SYS_keyctl, [libc::KEYCTL_SESSION_TO_PARENT.into()]),
    ]
}

fn look_up(keyring: &Keyring) -> Vec<Statement> {
    let description = Arg::from(keyring.description.as_str());
    let search =
        [libc::KEYCTL_SEARCH.into(), SESSION.into(), keyring.key_type.into(), description, Arg::Int(0)];
    vec![
        sys(libc::SYS_keyctl, search),
        sys(libc::SYS_keyctl, [libc::KEYCTL_READ.into(), result(0), buffer(128), Arg::Int(128)]),
    ]
}
