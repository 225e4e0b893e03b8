//! The explicit proxies, for clients that want one: the same decision, the same connection, another way to ask.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use nix::errno::Errno;
use palisade_policy::{Clause, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::config::Mutant;
use crate::decide::Denial;
use crate::event::Reason;
use crate::relay::{relay, reset, send_all};
use crate::request::{self, Socks};
use crate::shared::{Shared, Target, Unopened, Wish};
use crate::target::Host;

/// Reads into `buffer` until `parse` makes something of it.
async fn read<T>(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    deadline: Instant,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<T> {
    loop {
        if let Some(parsed) = parse(buffer) {
            return Ok(parsed);
        }
        // Every parser makes an end of what is longer than this.
        if buffer.len() > request::MAX_HEAD + 4 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let read = timeout_at(deadline, stream.read_buf(buffer));
        if read.await.map_err(|_| io::ErrorKind::TimedOut)?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Opens what a client asked for. `unchecked` is the bug that this way of asking may have.
async fn open(
    shared: &Shared,
    dialled: SocketAddr,
    (host, port): (Host, u16),
    unchecked: Mutant,
) -> Result<TcpStream, Unopened> {
    let target = match host {
        Host::Name(name) => Target::Name(name.into()),
        Host::Address(address) => Target::Address(address),
    };
    if shared.judge.has(unchecked)
        && let Target::Address(address) = target
    {
        return TcpStream::connect((address, port)).await.map_err(|_| Unopened::Failed(Errno::ECONNREFUSED));
    }
    shared.open(&Wish { protocol: Protocol::Tcp, dialled, target, port }).await
}

/// Tells that a client named no host.
fn not_a_host(shared: &Shared, dialled: SocketAddr) {
    let target = Target::Address(dialled.ip().to_canonical());
    let wish = Wish { protocol: Protocol::Tcp, dialled, target, port: dialled.port() };
    shared.deny(&wish, Denial { reason: Reason::NotAName, clause: Clause::new("network.allow") });
}

/// Serves a client of the HTTP proxy.
pub(crate) async fn http(shared: &Rc<Shared>, mut stream: TcpStream, dialled: SocketAddr) {
    let deadline = Instant::now() + shared.limits.request_timeout;
    let mut buffer = Vec::with_capacity(1024);
    let Ok(parsed) = read(&mut stream, &mut buffer, deadline, |bytes| request::http(bytes).transpose()).await
    else {
        return reset(stream);
    };
    let request = match parsed {
        Ok(request) => request,
        Err(status) => {
            not_a_host(shared, dialled);
            return refuse(stream, status).await;
        }
    };
    let unchecked = match request.head {
        Some(_) => Mutant::PlainHttpUnchecked,
        None => Mutant::ProxyUnchecked,
    };
    let outside = match open(shared, dialled, (request.host, request.port), unchecked).await {
        Ok(outside) => outside,
        Err(Unopened::Denied) => return refuse(stream, 403).await,
        Err(Unopened::Failed(Errno::ETIMEDOUT)) => return refuse(stream, 504).await,
        Err(Unopened::Failed(_)) => return refuse(stream, 502).await,
        Err(Unopened::Limited) => return refuse(stream, 503).await,
    };
    let early = &buffer[request.length..];
    let sent = match &request.head {
        Some(head) => send_all(&outside, &[head, early].concat()).await,
        None => match send_all(&stream, b"HTTP/1.1 200 Connection established\r\n\r\n").await {
            Ok(()) => send_all(&outside, early).await,
            Err(error) => Err(error),
        },
    };
    drop(buffer);
    match sent {
        Ok(()) => relay(stream, outside, &shared.crew).await,
        Err(_) => reset(stream),
    }
}

async fn refuse(mut stream: TcpStream, status: u16) {
    let reason = match status {
        400 => "Bad Request",
        403 => "Forbidden",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Bad Gateway",
    };
    let message = format!("HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let _ = send_all(&stream, message.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Serves a client of the SOCKS proxy.
pub(crate) async fn socks(shared: &Rc<Shared>, mut stream: TcpStream, dialled: SocketAddr) {
    let deadline = Instant::now() + shared.limits.request_timeout;
    let complete = |said: Socks| (said != Socks::Incomplete).then_some(said);
    let mut buffer = Vec::with_capacity(300);
    let greeting = read(&mut stream, &mut buffer, deadline, |bytes| complete(request::socks_greeting(bytes)));
    let Ok(Socks::Greeting(length, offers_none)) = greeting.await else { return reset(stream) };
    if !offers_none {
        let _ = send_all(&stream, &[5, 0xff]).await;
        return;
    }
    buffer.drain(..length);
    if send_all(&stream, &[5, 0]).await.is_err() {
        return;
    }
    let asked = read(&mut stream, &mut buffer, deadline, |bytes| complete(request::socks_request(bytes)));
    let (length, host, port) = match asked.await {
        Ok(Socks::Connect(length, host, port)) => (length, host, port),
        Ok(Socks::Refused(code)) => {
            not_a_host(shared, dialled);
            return reply(stream, code).await;
        }
        Ok(_) | Err(_) => return reset(stream),
    };
    let outside = match open(shared, dialled, (host, port), Mutant::ProxyUnchecked).await {
        Ok(outside) => outside,
        // The codes of RFC 1928, 6.
        Err(Unopened::Denied) => return reply(stream, request::NOT_ALLOWED).await,
        Err(Unopened::Failed(Errno::ECONNREFUSED)) => return reply(stream, 5).await,
        Err(Unopened::Failed(Errno::ENETUNREACH)) => return reply(stream, 3).await,
        Err(Unopened::Failed(_)) => return reply(stream, 4).await,
        Err(Unopened::Limited) => return reply(stream, 1).await,
    };
    if send_all(&stream, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.is_err()
        || send_all(&outside, &buffer[length..]).await.is_err()
    {
        return reset(stream);
    }
    drop(buffer);
    relay(stream, outside, &shared.crew).await;
}

async fn reply(mut stream: TcpStream, code: u8) {
    let _ = send_all(&stream, &[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    let _ = stream.shutdown().await;
}
