//! The suite's own visit to a listener: a round trip of a nonce, from the lab's side.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::sockets::protocol;
use super::{Endpoint, Proto};

/// How long a visit may take. Generous: a slow machine must not turn a live canary into a dead one.
const PATIENCE: Duration = Duration::from_secs(5);

static VISITS: AtomicU64 = AtomicU64::new(0);

/// A nonce that no probe uses: the word `alive`, the process and a counter.
pub(super) fn fresh_nonce() -> String {
    let count = VISITS.fetch_add(1, Ordering::Relaxed);
    format!("alive-{}-{count}.", std::process::id())
}

/// Sends `nonce` and reads until it comes back. What is sent to a group is not answered from its address: there the log alone
/// tells whether it was heard.
pub(super) fn round_trip(endpoint: &Endpoint, proto: Proto, nonce: &str) -> io::Result<()> {
    match (proto, endpoint) {
        (Proto::Tcp, Endpoint::Inet(address)) => {
            let stream = TcpStream::connect_timeout(&on_lo(*address), PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream_trip(stream, nonce)
        }
        (Proto::Udp | Proto::UdpLite, Endpoint::Inet(address)) => {
            datagram_trip(on_lo(*address), proto, nonce)
        }
        (Proto::UnixStream, _) => {
            let stream = UnixStream::connect_addr(&unix_address(endpoint)?)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream_trip(stream, nonce)
        }
        (Proto::UnixDgram, _) => {
            // Bound by the kernel to a name of its choosing (autobind), so that the answer finds its way back.
            let own = UnixAddr::from_abstract_name(format!("palisade-visit-{nonce}"))?;
            let socket = UnixDatagram::bind_addr(&own)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.connect_addr(&unix_address(endpoint)?)?;
            socket.send(nonce.as_bytes())?;
            let mut buffer = [0; 1024];
            let length = socket.recv(&mut buffer)?;
            expect(&buffer[..length], nonce)
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Link-local addresses mean nothing without their link, which in the lab is always `lo`.
fn on_lo(address: SocketAddr) -> SocketAddr {
    const LO: u32 = 1;
    match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() || v6.ip().is_multicast() => {
            SocketAddr::V6(SocketAddrV6::new(*v6.ip(), v6.port(), v6.flowinfo(), LO))
        }
        other => other,
    }
}

fn is_group(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn unix_address(endpoint: &Endpoint) -> io::Result<UnixAddr> {
    match endpoint {
        Endpoint::Path(path) => UnixAddr::from_pathname(path),
        Endpoint::Abstract(name) => UnixAddr::from_abstract_name(name),
        Endpoint::Inet(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn stream_trip(mut stream: impl Read + Write, nonce: &str) -> io::Result<()> {
    stream.write_all(format!("{nonce}\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer)?;
    expect(&answer, nonce)
}

fn datagram_trip(address: SocketAddr, proto: Proto, nonce: &str) -> io::Result<()> {
    let (family, any): (_, SocketAddr) = match address {
        SocketAddr::V4(_) => (AddressFamily::INET, (Ipv4Addr::UNSPECIFIED, 0).into()),
        SocketAddr::V6(_) => (AddressFamily::INET6, (Ipv6Addr::UNSPECIFIED, 0).into()),
    };
    let fd = rustix::net::socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, protocol(proto))?;
    rustix::net::bind(&fd, &any)?;
    let socket = UdpSocket::from(fd);
    if is_group(address.ip()) {
        if address.is_ipv4() {
            socket.set_broadcast(true)?;
        }
        return socket.send_to(nonce.as_bytes(), address).map(drop);
    }
    socket.connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(nonce.as_bytes())?;
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer)?;
    expect(&buffer[..length], nonce)
}

fn expect(answer: &[u8], nonce: &str) -> io::Result<()> {
    if answer.windows(nonce.len()).any(|w| w == nonce.as_bytes()) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the answer does not hold the nonce"))
}
