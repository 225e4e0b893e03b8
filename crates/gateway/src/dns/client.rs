//! Questions outside: which addresses has a name, now?
//!
//! Every question goes from a socket of its own, so from a port that the kernel chose at random, connected to the
//! resolver, with a random id. Both families are asked at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use super::message::{A, AAAA, CNAME, IN, NO_ERROR, NO_SUCH_NAME, Name, Question, Reader, query};

/// How long one resolver may take, for one transport.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long one family is waited for when the other has addresses. More than the 50 ms of RFC 8305, 3: an address that is
/// not known here is not tried later.
const OTHER_FAMILY: Duration = Duration::from_millis(500);

/// The longest that an answer is used again, whatever its TTL.
const MAX_AGE: Duration = Duration::from_secs(5);

/// How many answers are kept.
const MAX_KEPT: usize = 256;

/// The most addresses of a name that are looked at.
pub(crate) const MAX_ADDRESSES: usize = 16;

/// The most aliases that an answer is followed through.
const MAX_ALIASES: usize = 16;

/// Why a name has no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// There is no such name, or it has no addresses.
    NoSuchName,
    /// No resolver has answered.
    NoAnswer,
}

/// Asks resolvers.
#[derive(Debug)]
pub(crate) struct Client {
    servers: Vec<SocketAddr>,
    hosts: HashMap<String, Vec<IpAddr>>,
    deadline: Duration,
    kept: RefCell<HashMap<String, (Instant, Vec<IpAddr>)>>,
    random: RandomState,
    asked: std::cell::Cell<u64>,
}

impl Client {
    /// Asks `servers` in their order; names of `hosts` need no asking.
    pub(crate) fn new(
        servers: Vec<SocketAddr>,
        hosts: Vec<(String, Vec<IpAddr>)>,
        deadline: Duration,
    ) -> Self {
        Self {
            servers,
            hosts: hosts.into_iter().collect(),
            deadline,
            kept: RefCell::default(),
            random: RandomState::new(),
            asked: std::cell::Cell::new(0),
        }
    }

    /// The addresses of `name`, which is in normal form: at least one.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Unresolved> {
        if let Some(addresses) = self.hosts.get(name).filter(|addresses| !addresses.is_empty()) {
            return Ok(addresses.clone());
        }
        if let Some((until, addresses)) = self.kept.borrow().get(name)
            && *until > Instant::now()
        {
            return Ok(addresses.clone());
        }
        self.resolve_anew(name).await
    }

    /// [`Client::resolve`] regardless of what was answered before.
    pub(crate) async fn resolve_anew(&self, name: &str) -> Result<Vec<IpAddr>, Unresolved> {
        let wire = Name::from_text(name).ok_or(Unresolved::NoSuchName)?;
        let (addresses, ttl) =
            timeout(self.deadline, self.ask_all(&wire)).await.unwrap_or(Err(Unresolved::NoAnswer))?;
        self.keep(name, &addresses, ttl);
        Ok(addresses)
    }

    fn keep(&self, name: &str, addresses: &[IpAddr], ttl: u32) {
        let age = MAX_AGE.min(Duration::from_secs(ttl.into()));
        if age.is_zero() {
            return;
        }
        let (mut kept, now) = (self.kept.borrow_mut(), Instant::now());
        if kept.len() >= MAX_KEPT {
            kept.retain(|_, (until, _)| *until > now);
        }
        if kept.len() < MAX_KEPT {
            kept.insert(name.to_owned(), (now + age, addresses.to_vec()));
        }
    }

    /// Asks one resolver after the other until one knows.
    async fn ask_all(&self, name: &Name) -> Result<(Vec<IpAddr>, u32), Unresolved> {
        for &server in &self.servers {
            let known = self.ask_both(server, name).await;
            let addresses: Vec<IpAddr> = known.iter().flat_map(|answer| answer.addresses.clone()).collect();
            let ttl = known.iter().map(|answer| answer.ttl).min().unwrap_or(0);
            if !addresses.is_empty() {
                return Ok((addresses, ttl));
            }
            // A resolver that answered for one family alone may have lost the other's answer: the next may know it.
            if known.len() == 2 {
                return Err(Unresolved::NoSuchName);
            }
        }
        Err(Unresolved::NoAnswer)
    }

    /// What `server` says about the addresses of `name` in each family, as far as it says anything.
    async fn ask_both(&self, server: SocketAddr, name: &Name) -> Vec<Answer> {
        let (mut v6, mut v4) = (pin!(self.ask(server, name, AAAA)), pin!(self.ask(server, name, A)));
        // With an address in hand the other family is not waited for long: there are resolvers that never answer for one.
        let enough = |first: &Option<Answer>| match first {
            Some(answer) if !answer.addresses.is_empty() => OTHER_FAMILY,
            _ => 2 * PATIENCE,
        };
        let answers = tokio::select! {
            first = &mut v6 => { let wait = enough(&first); [first, timeout(wait, v4).await.ok().flatten()] }
            first = &mut v4 => { let wait = enough(&first); [timeout(wait, v6).await.ok().flatten(), first] }
        };
        answers.into_iter().flatten().collect()
    }

    /// What `server` says about `name`; `None`: nothing of use.
    async fn ask(&self, server: SocketAddr, name: &Name, kind: u16) -> Option<Answer> {
        let question = Question { name: name.clone(), kind, class: IN };
        let asked = self.asked.get();
        self.asked.set(asked.wrapping_add(1));
        // A keyed hash of a counter: unpredictable to whoever does not know the key.
        let [high, low, ..] = self.random.hash_one(asked).to_be_bytes();
        let id = u16::from_be_bytes([high, low]);
        let message = query(id, &question);
        match timeout(PATIENCE, over_udp(server, id, &question, &message)).await {
            Ok(Ok(Reply::Answer(answer))) => Some(answer),
            Ok(Ok(Reply::Truncated)) => {
                timeout(PATIENCE, over_tcp(server, id, &question, &message)).await.ok()?.ok()?
            }
            Ok(Ok(Reply::Useless) | Err(_)) | Err(_) => None,
        }
    }
}

#[derive(Debug)]
enum Reply {
    Answer(Answer),
    Truncated,
    Useless,
}

/// The addresses in an answer; none where the name does not exist or has none.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    addresses: Vec<IpAddr>,
    /// The least time to live of what led to them, in seconds.
    ttl: u32,
}

async fn over_udp(server: SocketAddr, id: u16, question: &Question, message: &[u8]) -> io::Result<Reply> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected: nobody else's datagrams are received.
    socket.connect(server).await?;
    socket.send(message).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = tokio::select! {
            received = socket.recv(&mut buffer) => received?,
            // Nobody is there (udp(7)), which makes the socket no more readable.
            failed = socket.ready(Interest::ERROR) => {
                failed?;
                return Err(socket.take_error()?.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into()));
            }
        };
        // What is not the answer may be somebody's guess: the answer can still come.
        if let Some(reply) = read(&buffer[..length], id, question) {
            return Ok(reply);
        }
    }
}

async fn over_tcp(
    server: SocketAddr,
    id: u16,
    question: &Question,
    message: &[u8],
) -> io::Result<Option<Answer>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await?;
    let length = usize::from(stream.read_u16().await?);
    let mut buffer = vec![0; length];
    stream.read_exact(&mut buffer).await?;
    match read(&buffer, id, question) {
        Some(Reply::Answer(answer)) => Ok(Some(answer)),
        Some(Reply::Truncated | Reply::Useless) | None => Ok(None),
    }
}

/// Reads the answer to `question`; `None`: it is not that.
fn read(message: &[u8], id: u16, question: &Question) -> Option<Reply> {
    let (header, mut reader) = Reader::new(message)?;
    if header.id != id || !header.is_response() || header.opcode() != 0 || header.questions != 1 {
        return None;
    }
    if reader.question()? != *question {
        return None;
    }
    if header.is_truncated() {
        return Some(Reply::Truncated);
    }
    match header.code() {
        NO_ERROR => {}
        NO_SUCH_NAME => return Some(Reply::Answer(Answer { addresses: Vec::new(), ttl: 0 })),
        _ => return Some(Reply::Useless),
    }
    let records: Option<Vec<_>> = (0..header.answers).map(|_| reader.record()).collect();
    let Some(records) = records else { return Some(Reply::Useless) };
    let mut owner = question.name.clone();
    let mut ttl = u32::MAX;
    for _ in 0..MAX_ALIASES {
        let alias =
            records.iter().find(|record| record.kind == CNAME && record.class == IN && record.name == owner);
        let Some(alias) = alias else { break };
        let Some(target) = alias.target() else { return Some(Reply::Useless) };
        ttl = ttl.min(alias.ttl);
        owner = target;
    }
    let mut addresses = Vec::new();
    for record in &records {
        if record.kind != question.kind || record.class != IN || record.name != owner {
            continue;
        }
        let address = match question.kind {
            A => <[u8; 4]>::try_from(record.data).ok().map(IpAddr::from),
            _ => <[u8; 16]>::try_from(record.data).ok().map(IpAddr::from),
        };
        let Some(address) = address else { return Some(Reply::Useless) };
        ttl = ttl.min(record.ttl);
        if addresses.len() < MAX_ADDRESSES {
            addresses.push(address);
        }
    }
    // A time to live with the highest bit set is none (RFC 2181, 8).
    let ttl = if ttl > i32::MAX.unsigned_abs() { 0 } else { ttl };
    Some(Reply::Answer(Answer { addresses, ttl }))
}

/// Reads any bytes as the answer to a question that asks what they say is asked, and checks what must hold of the outcome.
#[cfg(fuzzing)]
pub(crate) fn read_anything(message: &[u8], kind: u16) {
    let Some((header, mut reader)) = Reader::new(message) else { return };
    let Some(asked) = reader.question() else { return };
    if let Some(Reply::Answer(answer)) = read(message, header.id, &Question { kind, ..asked }) {
        assert!(answer.addresses.len() <= MAX_ADDRESSES);
        assert!(answer.addresses.iter().all(|address| address.is_ipv4() == (kind == A)));
    }
}

#[cfg(test)]
mod tests;
