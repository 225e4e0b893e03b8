//! What a careless caller has open when it starts a sandbox: descriptors at the numbers that the world names.
//!
//! They are close-on-exec until a case is started (`Lab::spawn_with_leaks`). What this host cannot open is noted as
//! absent; its number stays free.

use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{DupFlags, dup3, fcntl_dupfd_cloexec};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::canary::Endpoint;
use super::error::{During, LabError};
use super::world::{LeakKind, Presence, World};

/// Takes the lowest number that is free. Called before the lab opens anything for long: what a shell leaves open comes right
/// after the standard descriptors.
///
/// # Errors
/// As open(2) of `/dev/null`.
pub(super) fn reserve() -> io::Result<OwnedFd> {
    Ok(File::open("/dev/null")?.into())
}

/// Opens everything that the world wants leaked, the first of it at the number of `lowest`. `terminal` is the master of the lab's
/// pseudo-terminal.
///
/// # Errors
/// When a number is taken already.
pub(super) fn open(
    world: &mut World,
    terminal: Option<&OwnedFd>,
    mut lowest: OwnedFd,
) -> Result<Vec<OwnedFd>, LabError> {
    let first =
        make(world, world.leaks[0].kind, terminal).during(|| "open a descriptor to leak".to_owned())?;
    dup3(&first, &mut lowest, DupFlags::CLOEXEC)
        .during(|| "place a descriptor at the lowest number".to_owned())?;
    world.leaks[0].fd = lowest.as_raw_fd();
    let mut placed = vec![lowest];
    for index in 1..world.leaks.len() {
        let leak = world.leaks[index].clone();
        let number = leak.fd;
        let made = make(world, leak.kind, terminal).and_then(|fd| Ok(fcntl_dupfd_cloexec(&fd, number)?));
        match made {
            Ok(fd) => {
                if fd.as_raw_fd() != number {
                    let busy = Err::<(), _>(io::Error::from(io::ErrorKind::AddrInUse));
                    busy.during(|| format!("place a descriptor at {number}"))?;
                }
                placed.push(fd);
            }
            Err(error) => {
                world.leaks[index].presence =
                    Presence::Absent(format!("open descriptor {number} to leak: {error}"));
            }
        }
    }
    Ok(placed)
}

fn make(world: &World, kind: LeakKind, terminal: Option<&OwnedFd>) -> io::Result<OwnedFd> {
    let secret = &world.secret("outside-private").path;
    Ok(match kind {
        LeakKind::RootDirectory => File::open("/")?.into(),
        LeakKind::SecretFile => File::open(secret)?.into(),
        LeakKind::ConnectedSocket => {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect("169.254.169.254:9999")?;
            socket.into()
        }
        LeakKind::ServiceSocket => {
            let Endpoint::Path(path) = &world.service("outside-dgram").endpoint else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            socket.into()
        }
        LeakKind::PathDirectory => {
            let directory = secret.parent().unwrap_or(secret);
            rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?
        }
        LeakKind::Process => {
            let pid = i32::try_from(world.decoy.pid).ok().and_then(Pid::from_raw);
            pidfd_open(pid.ok_or(io::ErrorKind::NotFound)?, PidfdFlags::empty())?
        }
        LeakKind::Namespace => File::open("/proc/self/ns/net")?.into(),
        LeakKind::Terminal => terminal.ok_or(io::ErrorKind::NotFound)?.try_clone()?,
        LeakKind::Anonymous => eventfd(0, EventfdFlags::CLOEXEC)?,
    })
}
