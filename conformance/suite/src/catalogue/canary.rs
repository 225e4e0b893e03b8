//! Things of the lab that a probe must not touch.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::lab::world::UnixService;
use crate::lab::{Endpoint, Proto};

/// Something in the lab that shows whether an attempt got through, seen from the far side.
///
/// For a prevention it must stay silent: it must not receive the attempt's nonce. For an `allows` entry
/// it must receive it. Either way it must answer the suite's own visit afterwards, or the entry is inconclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Canary {
    /// A listener of the lab. It hears of an attempt by the nonce that arrives; let the attempt send `NONCE`.
    Listener(Endpoint, Proto),
    /// A file that the attempt would change: touched when its content holds the nonce or is not what it was before the
    /// case. A relative path is below the workspace.
    File(PathBuf),
    /// A path that must not come into existence. A relative path is below the workspace.
    Missing(PathBuf),
    /// A directory whose list of names must be the same afterwards. Others may write there too, so the entry is
    /// best `serial`. A relative path is below the workspace.
    Names(PathBuf),
    /// The mounts of the place where the runtime was started: none may be left over.
    Mounts,
    /// A process of the lab, by its pid there: touched when it is gone.
    Process(u32),
    /// The terminal on which the runtime was started: touched when its size, its settings or its foreground are not
    /// what they were before.
    Terminal,
    /// A file that is a standard descriptor of the runtime ([`Streams::Files`](super::Streams)): touched when what stood in
    /// it before does not stand there any more.
    Stream(Stream),
}

/// A standard descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Descriptor 0.
    Input,
    /// Descriptor 1.
    Output,
    /// Descriptor 2.
    Errors,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "standard input",
            Self::Output => "standard output",
            Self::Errors => "standard error",
        })
    }
}

impl Canary {
    /// The TCP listener at this address and port.
    pub fn tcp(address: impl Into<IpAddr>, port: u16) -> Self {
        Self::Listener(Endpoint::Inet(SocketAddr::new(address.into(), port)), Proto::Tcp)
    }

    /// The UDP listener at this address and port.
    pub fn udp(address: impl Into<IpAddr>, port: u16) -> Self {
        Self::Listener(Endpoint::Inet(SocketAddr::new(address.into(), port)), Proto::Udp)
    }

    /// A Unix socket of the lab.
    pub fn service(service: &UnixService) -> Self {
        Self::Listener(service.endpoint.clone(), service.proto)
    }
}

impl fmt::Display for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(endpoint, proto) => {
                let proto = match proto {
                    Proto::Tcp => "tcp",
                    Proto::Udp => "udp",
                    Proto::UdpLite => "udplite",
                    Proto::UnixStream => "unix stream",
                    Proto::UnixDgram => "unix datagram",
                };
                write!(f, "{proto} {endpoint}")
            }
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Missing(path) => write!(f, "absence of {}", path.display()),
            Self::Names(path) => write!(f, "names in {}", path.display()),
            Self::Mounts => f.write_str("mounts of the host"),
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::Terminal => f.write_str("terminal of the caller"),
            Self::Stream(stream) => write!(f, "file that is the {stream}"),
        }
    }
}
