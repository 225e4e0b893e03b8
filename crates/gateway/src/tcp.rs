//! Connections that the workload made: whom each is for, and what becomes of it.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};
use palisade_policy::Protocol;
use palisade_policy::address::synthetic::{DNS_PORT, HTTP_PROXY_PORT, SOCKS_PORT, is_resolver};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::config::Mutant;
use crate::dns;
use crate::event::Limit;
use crate::relay::{relay, reset};
use crate::shared::{Shared, Target, Unopened, Wish};
use crate::tell::Counted;
use crate::{proxy, udp};

/// How long to wait where there is no descriptor for a connection.
const RESPITE: Duration = Duration::from_millis(50);

/// The longest query over TCP that is read. One question and the options of EDNS are far below.
const MAX_QUERY: usize = 4096;

/// Accepts connections for ever.
pub(crate) async fn serve(shared: Rc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => admit(&shared, stream),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                    shared.teller.limit(Limit::Descriptors);
                    tokio::time::sleep(RESPITE).await;
                }
                // The connection ended before it was accepted (accept(2)).
                _ => tokio::task::yield_now().await,
            },
        }
    }
}

fn admit(shared: &Rc<Shared>, stream: TcpStream) {
    let task = Rc::clone(shared);
    if shared.counters.connections.load(std::sync::atomic::Ordering::Relaxed) >= shared.limits.connections {
        shared.teller.limit(Limit::Connections);
        reset(stream);
        return;
    }
    tokio::task::spawn_local(async move {
        let counted = Counted::new(&task.counters.connections, usize::MAX);
        connection(&task, stream).await;
        drop(counted);
    });
}

async fn connection(shared: &Rc<Shared>, stream: TcpStream) {
    let Ok(dialled) = dialled(&stream) else { return reset(stream) };
    if is_resolver(dialled.ip()) {
        match dialled.port() {
            DNS_PORT => return queries(shared, stream).await,
            HTTP_PROXY_PORT if shared.judge.serves_proxies() => {
                return Box::pin(proxy::http(shared, stream, dialled)).await;
            }
            SOCKS_PORT if shared.judge.serves_proxies() => {
                return Box::pin(proxy::socks(shared, stream, dialled)).await;
            }
            _ => {}
        }
    }
    let protocol = Protocol::Tcp;
    let (target, name_use) = match shared.target(dialled.ip()) {
        Ok(found) => found,
        Err(denial) => {
            let target = Target::Address(dialled.ip().to_canonical());
            shared.deny(&Wish { protocol, dialled, target, port: dialled.port() }, denial);
            return reset(stream);
        }
    };
    let wish = Wish { protocol, dialled, target, port: dialled.port() };
    // Boxed: what is needed to connect is not kept for as long as the connection lasts.
    match Box::pin(shared.open(&wish)).await {
        Ok(outside) => relay(stream, outside, &shared.crew).await,
        Err(Unopened::Denied) if shared.judge.has(Mutant::DeniedHangs) => std::future::pending().await,
        Err(_) => reset(stream),
    }
    drop(name_use);
}

/// The address that the client dialled: the socket's own, unless a packet filter has turned it here.
fn dialled(stream: &TcpStream) -> io::Result<SocketAddr> {
    let local = stream.local_addr()?;
    let original = if local.ip().to_canonical().is_ipv4() {
        getsockopt(stream, sockopt::OriginalDst).ok().map(|address| {
            let octets = address.sin_addr.s_addr.to_ne_bytes();
            SocketAddr::from(SocketAddrV4::new(octets.into(), u16::from_be(address.sin_port)))
        })
    } else {
        getsockopt(stream, sockopt::Ip6tOriginalDst).ok().map(|address| {
            let octets = address.sin6_addr.s6_addr;
            SocketAddr::from(SocketAddrV6::new(octets.into(), u16::from_be(address.sin6_port), 0, 0))
        })
    };
    Ok(original.unwrap_or(local))
}

/// Answers queries over TCP (RFC 7766): each with its length before it.
async fn queries(shared: &Rc<Shared>, mut stream: TcpStream) {
    let patience = shared.limits.request_timeout;
    let mut buffer = Vec::new();
    loop {
        let Ok(Ok(length)) = timeout(patience, stream.read_u16()).await else { return };
        let length = usize::from(length);
        if length > MAX_QUERY {
            return reset(stream);
        }
        buffer.resize(length, 0);
        let Ok(Ok(_)) = timeout(patience, stream.read_exact(&mut buffer)).await else { return };
        let Some(answer) = query(shared, &buffer) else { return reset(stream) };
        let Ok(length) = u16::try_from(answer.len()) else { return };
        let message = [&length.to_be_bytes(), &answer[..]].concat();
        let Ok(Ok(())) = timeout(patience, stream.write_all(&message)).await else { return };
    }
}

/// Answers one query.
pub(crate) fn query(shared: &Rc<Shared>, message: &[u8]) -> Option<Vec<u8>> {
    let mut names = shared.names.borrow_mut();
    let (answer, note) = dns::stub::answer(message, &shared.judge, &mut names, Instant::now())?;
    shared.counters.names.store(names.len(), std::sync::atomic::Ordering::Relaxed);
    drop(names);
    udp::note(shared, note);
    Some(answer)
}
