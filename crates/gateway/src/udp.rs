//! Datagrams that the workload sent. A flow is a client's address with a dialled one: it has a socket of its own
//! outside, connected to the address that was judged, and its answers come from the address that was dialled.
//!
//! A datagram that is denied or cannot be sent is answered with "port unreachable", where there is a raw socket to say so.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo, sockaddr_in, sockaddr_in6};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg,
    sendmsg, setsockopt, sockopt,
};
use palisade_policy::Protocol;
use palisade_policy::address::synthetic::{DNS_PORT, is_resolver};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::config::Mutant;
use crate::dns::stub::Note;
use crate::event::{Event, Limit};
use crate::raw::Raw;
use crate::shared::{NameUse, Shared, Target, Wish};
use crate::tcp;

/// How much all flows together keep of what came before their upstream was known, in bytes.
const MAX_EARLY: usize = 1 << 20;

/// How many datagrams one flow keeps of that.
const MAX_EARLY_DATAGRAMS: usize = 8;

/// How long a flow that came to nothing stands for the next datagrams of its kind.
const REMEMBERED: Duration = Duration::from_secs(1);

/// The largest datagram (udp(7)).
const MAX_DATAGRAM: usize = 65_536;

/// A socket inside.
#[derive(Debug)]
pub(crate) struct Inside {
    socket: UdpSocket,
    is_ipv6: bool,
    port: u16,
    flows: RefCell<HashMap<Key, Rc<Flow>>>,
}

/// Who, to whom.
type Key = (SocketAddr, SocketAddr);

#[derive(Debug)]
struct Flow {
    state: RefCell<State>,
    last: Cell<Instant>,
    task: RefCell<Option<AbortHandle>>,
}

#[derive(Debug)]
enum State {
    Opening(Vec<Vec<u8>>),
    Open(Rc<UdpSocket>),
    Closed,
}

impl Inside {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let local: SockaddrStorage = nix::sys::socket::getsockname(socket.as_raw_fd())?;
        let local = address(&local).ok_or(io::ErrorKind::InvalidInput)?;
        // An answer comes from the address that was dialled, which is nobody's own: for IPv6 a local route does not
        // suffice (net/ipv6/datagram.c, ip6_datagram_send_ctl).
        setsockopt(&socket, sockopt::IpFreebind, &true)?;
        Ok(Self {
            socket: UdpSocket::from_std(socket.into())?,
            is_ipv6: local.is_ipv6(),
            port: local.port(),
            flows: RefCell::default(),
        })
    }

    /// Receives a datagram: its length, who sent it, and which address it was sent to.
    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, SocketAddr)> {
        let mut receive = || {
            let mut control = cmsg_space!(in_pktinfo, in6_pktinfo, sockaddr_in, sockaddr_in6);
            let mut parts = [IoSliceMut::new(buffer)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let got =
                recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
            let (mut dialled, mut original) = (None, None);
            for message in got.cmsgs()? {
                match message {
                    ControlMessageOwned::Ipv4PacketInfo(info) => {
                        dialled = Some(IpAddr::V4(info.ipi_addr.s_addr.to_ne_bytes().into()));
                    }
                    ControlMessageOwned::Ipv6PacketInfo(info) => {
                        dialled = Some(IpAddr::V6(info.ipi6_addr.s6_addr.into()));
                    }
                    ControlMessageOwned::Ipv4OrigDstAddr(to) => {
                        let ip = Ipv4Addr::from(to.sin_addr.s_addr.to_ne_bytes());
                        original = Some(SocketAddr::from((ip, u16::from_be(to.sin_port))));
                    }
                    ControlMessageOwned::Ipv6OrigDstAddr(to) => {
                        let ip = Ipv6Addr::from(to.sin6_addr.s6_addr);
                        original = Some(SocketAddr::from((ip, u16::from_be(to.sin6_port))));
                    }
                    _ => {}
                }
            }
            let dialled = original.or(dialled.map(|ip| SocketAddr::new(ip, self.port)));
            Ok((got.bytes, got.address.as_ref().and_then(address), dialled))
        };
        loop {
            let got = self.socket.async_io(Interest::READABLE, &mut receive).await?;
            // Without an address there is nobody to answer, or nothing to decide about.
            if let (length, Some(client), Some(dialled)) = got {
                return Ok((length, client, dialled));
            }
        }
    }

    /// Sends `data` to `client` as if from `dialled`. Best effort, as datagrams are.
    fn send(&self, raw: &Raw, data: &[u8], client: SocketAddr, dialled: SocketAddr) {
        // A socket that takes all ports has none of them.
        if dialled.port() != self.port && raw.datagram(dialled, client, data) {
            return;
        }
        let dialled = dialled.ip();
        let parts = [IoSlice::new(data)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let fd = self.socket.as_raw_fd();
        // A full buffer drops the datagram, as a full link would.
        let _ = if self.is_ipv6 {
            let (dialled, client) =
                (mapped(dialled), SocketAddrV6::new(mapped(client.ip()), client.port(), 0, 0));
            let info = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: dialled.octets() }, ipi6_ifindex: 0 };
            sendmsg(
                fd,
                &parts,
                &[ControlMessage::Ipv6PacketInfo(&info)],
                flags,
                Some(&SockaddrIn6::from(client)),
            )
        } else {
            let (IpAddr::V4(dialled), SocketAddr::V4(client)) = (dialled, client) else { return };
            let from = in_addr { s_addr: u32::from_ne_bytes(dialled.octets()) };
            let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: from, ipi_addr: from };
            sendmsg(
                fd,
                &parts,
                &[ControlMessage::Ipv4PacketInfo(&info)],
                flags,
                Some(&SockaddrIn::from(client)),
            )
        };
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|&address| SocketAddr::V4(SocketAddrV4::from(address)));
    v4.or_else(|| storage.as_sockaddr_in6().map(|&address| SocketAddr::V6(SocketAddrV6::from(address))))
}

/// Serves a socket for ever.
pub(crate) async fn serve(shared: Rc<Shared>, inside: Rc<Inside>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let Ok((length, client, dialled)) = inside.receive(&mut buffer).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let data = &buffer[..length];
        if is_resolver(dialled.ip()) && dialled.port() == DNS_PORT {
            if let Some(answer) = tcp::query(&shared, data) {
                inside.send(&shared.raw, &answer, client, dialled);
            }
            continue;
        }
        forward(&shared, &inside, (client, dialled), data);
    }
}

/// Passes a datagram to its flow, a new one if there is none.
fn forward(shared: &Rc<Shared>, inside: &Rc<Inside>, key: Key, data: &[u8]) {
    let known = inside.flows.borrow().get(&key).map(Rc::clone);
    if let Some(flow) = known {
        flow.last.set(Instant::now());
        match &mut *flow.state.borrow_mut() {
            State::Open(socket) => send_out(shared, socket, key, data),
            State::Opening(early) => {
                if early.len() < MAX_EARLY_DATAGRAMS && shared.early.get() + data.len() <= MAX_EARLY {
                    shared.early.set(shared.early.get() + data.len());
                    early.push(data.to_vec());
                }
            }
            State::Closed => shared.raw.refuse(key.0, key.1, data.len()),
        }
        return;
    }
    if shared.counters.udp_flows.load(Ordering::Relaxed) >= shared.limits.udp_flows {
        shared.teller.limit(Limit::UdpFlows);
        if !evict(inside) {
            return;
        }
    }
    if shared.early.get() + data.len() > MAX_EARLY {
        return;
    }
    shared.early.set(shared.early.get() + data.len());
    let flow = Rc::new(Flow {
        state: RefCell::new(State::Opening(vec![data.to_vec()])),
        last: Cell::new(Instant::now()),
        task: RefCell::default(),
    });
    let end = FlowEnd { shared: Rc::clone(shared), inside: Rc::clone(inside), key, flow: Rc::clone(&flow) };
    inside.flows.borrow_mut().insert(key, Rc::clone(&flow));
    shared.counters.udp_flows.fetch_add(1, Ordering::Relaxed);
    let task = tokio::task::spawn_local(async move { run(&end).await });
    *flow.task.borrow_mut() = Some(task.abort_handle());
}

/// Ends the flow that was idle longest. Whether there was one.
fn evict(inside: &Inside) -> bool {
    let oldest = inside.flows.borrow().iter().min_by_key(|(_, flow)| flow.last.get()).map(|(&key, _)| key);
    let Some(flow) = oldest.and_then(|key| inside.flows.borrow_mut().remove(&key)) else { return false };
    if let Some(task) = flow.task.take() {
        task.abort();
    }
    true
}

/// A flow's place in the table, given up at the end of its task, whatever ends it.
struct FlowEnd {
    shared: Rc<Shared>,
    inside: Rc<Inside>,
    key: Key,
    flow: Rc<Flow>,
}

impl FlowEnd {
    /// Takes what came early.
    fn set(&self, state: State) -> Vec<Vec<u8>> {
        match self.flow.state.replace(state) {
            State::Opening(early) => {
                let bytes: usize = early.iter().map(Vec::len).sum();
                self.shared.early.set(self.shared.early.get().saturating_sub(bytes));
                early
            }
            State::Open(_) | State::Closed => Vec::new(),
        }
    }
}

impl Drop for FlowEnd {
    fn drop(&mut self) {
        self.set(State::Closed);
        self.shared.counters.udp_flows.fetch_sub(1, Ordering::Relaxed);
        let mut flows = self.inside.flows.borrow_mut();
        if flows.get(&self.key).is_some_and(|flow| Rc::ptr_eq(flow, &self.flow)) {
            flows.remove(&self.key);
        }
    }
}

async fn run(end: &FlowEnd) {
    let (shared, (client, dialled)) = (&end.shared, end.key);
    let Some((socket, _name_use)) = open(shared, dialled).await else {
        for data in end.set(State::Closed) {
            shared.raw.refuse(client, dialled, data.len());
        }
        return tokio::time::sleep(REMEMBERED).await;
    };
    for data in end.set(State::Open(Rc::clone(&socket))) {
        send_out(shared, &socket, end.key, &data);
    }
    let mut buffer = Vec::new();
    // An ICMP error about what was sent (udp(7)) makes a socket no more readable.
    let events = Interest::READABLE | Interest::ERROR;
    loop {
        let idle = end.flow.last.get() + shared.limits.udp_idle;
        match timeout(idle.saturating_duration_since(Instant::now()), socket.ready(events)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return,
            // Something may have been sent meanwhile.
            Err(_) if end.flow.last.get() + shared.limits.udp_idle > Instant::now() => continue,
            Err(_) => return,
        }
        let failed: io::Result<()> = socket.try_io(Interest::ERROR, || match socket.take_error()? {
            Some(error) => Err(error),
            None => Err(io::ErrorKind::WouldBlock.into()),
        });
        if let Err(error) = failed
            && error.kind() != io::ErrorKind::WouldBlock
        {
            // The next datagram may fare better.
            shared.raw.refuse(client, dialled, 0);
        }
        // Held only while there is something to read: an idle flow costs no buffer.
        buffer.resize(MAX_DATAGRAM, 0);
        for _ in 0..64 {
            match socket.try_recv(&mut buffer) {
                Ok(length) => {
                    end.flow.last.set(Instant::now());
                    end.inside.send(&shared.raw, &buffer[..length], client, dialled);
                    let received = u64::try_from(length).unwrap_or(0);
                    shared.counters.received.fetch_add(received, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => shared.raw.refuse(client, dialled, 0),
            }
        }
        buffer = Vec::new();
        tokio::task::yield_now().await;
    }
}

fn send_out(shared: &Shared, socket: &UdpSocket, (client, dialled): Key, data: &[u8]) {
    // The first attempt may be told of an error about the datagram before, and then has sent nothing.
    for _ in 0..2 {
        match socket.try_send(data) {
            Ok(_) => {
                shared.counters.sent.fetch_add(u64::try_from(data.len()).unwrap_or(0), Ordering::Relaxed);
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                shared.raw.refuse(client, dialled, 0);
            }
            Err(_) => return,
        }
    }
}

async fn open(shared: &Rc<Shared>, dialled: SocketAddr) -> Option<(Rc<UdpSocket>, Option<NameUse>)> {
    let protocol = Protocol::Udp;
    let (target, name_use) = match shared.target(dialled.ip()) {
        Ok(found) => found,
        Err(denial) => {
            let target = Target::Address(dialled.ip().to_canonical());
            shared.deny(&Wish { protocol, dialled, target, port: dialled.port() }, denial);
            return None;
        }
    };
    let wish = Wish { protocol, dialled, target, port: dialled.port() };
    let _pending = shared.pending().await?;
    let upstreams = shared.upstreams(&wish).await.ok()?;
    let mut failure = nix::errno::Errno::EHOSTUNREACH;
    // Nobody says whether a datagram arrives: the first address that there is a route to.
    for (upstream, rule) in upstreams {
        match connected(upstream).await {
            Ok(socket) => {
                shared.connected(&wish, upstream, rule);
                return Some((Rc::new(socket), name_use));
            }
            Err(error) => failure = nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0)),
        }
    }
    shared.fail(&wish, failure);
    None
}

async fn connected(upstream: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr =
        if upstream.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(upstream).await?;
    // Writable from the start: `try_send` asks the runtime first.
    socket.ready(Interest::WRITABLE).await?;
    Ok(socket)
}

/// Tells what the stub resolver has to say.
pub(crate) fn note(shared: &Rc<Shared>, note: Note) {
    match note {
        Note::Answered => {}
        Note::Full => shared.teller.limit(Limit::Names),
        Note::Denied(name, denial) => {
            shared.counters.denied.fetch_add(1, Ordering::Relaxed);
            if shared.judge.has(Mutant::DeniedNameResolved) {
                let (shared, name) = (Rc::clone(shared), name.clone());
                tokio::task::spawn_local(async move { shared.client.resolve_anew(&name).await });
            }
            shared.teller.tell(Event::NameDenied { name, reason: denial.reason, clause: denial.clause });
        }
    }
}
