//! The two sides: a world without an uplink, and as many sandboxes as there are tests.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt};
use palisade_gateway::{Config, Event, Gateway, Limits, Mutant, Sockets};
use palisade_policy::{Document, Network};

/// How long something that must happen may take. Nothing is measured by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What exists outside. Some of it is public on a real internet, which this is not.
const WORLD: &[&str] = &[
    "local 93.184.0.0/16",
    "local 203.0.113.0/24",
    "local 10.0.0.0/8",
    "local 100.64.0.0/10",
    "local 169.254.0.0/16",
    "local 2600:9999::/32",
    "local fd00:ec2::/32",
    "local 64:ff9b::/96",
];

/// What the sandbox has a route to: more than any policy of these tests allows.
const INSIDE: &[&str] = &[
    "local 93.184.0.0/16",
    "local 203.0.113.0/24",
    "local 10.0.0.0/8",
    "local 100.64.0.0/10",
    "local 169.254.0.0/16",
    "local 198.18.0.0/15",
    "local 2600:9999::/32",
    "local fd70:616c:6973:ade0::/64",
    "local fd00:ec2::/32",
    "local 64:ff9b::/96",
];

/// A name that the gateway's thread panics at.
pub(crate) const MISTAKE: &str = "mistake.example";

/// The ports that are listened on inside.
const PORTS: &[u16] = &[53, 80, 443, 1080, 3128, 8081, 8082];

/// How many connections are held without a word: 1,000, or what `PALISADE_TEST_CONNECTIONS` says.
pub(crate) fn idle_connections() -> usize {
    std::env::var("PALISADE_TEST_CONNECTIONS").map_or(1000, |count| count.parse().expect("a number"))
}

/// Enters the world. Must be called before there is a second thread.
pub(crate) fn enter() -> Result<(), String> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    // Four descriptors a connection: this process holds both ends of both. Before the namespace, in which nobody may raise
    // the hard limit.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|error| format!("RLIMIT_NOFILE: {error}"))?;
    let wanted = hard.max(6 * u64::try_from(idle_connections()).unwrap_or(0));
    setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted)
        .map_err(|error| format!("RLIMIT_NOFILE of {wanted}: {error}"))?;
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|error| format!("unshare: {error}"))?;
    let write = |file: &str, text: String| fs::write(file, text).map_err(|error| format!("{file}: {error}"));
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    assert_no_uplink();
    ip(WORLD);
    // Of this namespace alone: a server of the world may have any address that there is a local route to.
    write("/proc/sys/net/ipv6/ip_nonlocal_bind", "1".to_owned())?;
    Ok(())
}

/// The guard: in a namespace that leads anywhere nothing is begun.
fn assert_no_uplink() {
    let output = |arguments: &[&str]| {
        let output = Command::new("ip").args(arguments).output().expect("ip(8) is needed");
        String::from_utf8(output.stdout).expect("text")
    };
    let links = output(&["-o", "link", "show"]);
    assert!(links.lines().count() == 1 && links.contains(": lo:"), "not a private namespace: {links}");
    for family in ["-4", "-6"] {
        let routes = output(&[family, "route", "show", "default"]);
        assert!(routes.trim().is_empty(), "a default route: {routes}");
    }
}

fn ip(routes: &[&str]) {
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("ip(8)");
    let mut text = "link set lo up\n".to_owned();
    for route in routes {
        text += &format!("route add {route} dev lo\n");
    }
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    assert!(child.wait().expect("ip ends").success());
}

/// A namespace that stands for a sandbox, with a gateway.
pub(crate) struct Lab {
    namespace: File,
    pub(crate) gateway: Option<Gateway>,
    events: Arc<Mutex<Vec<Event>>>,
}

/// What a lab is made of beside its policy.
#[derive(Default)]
pub(crate) struct Setting {
    pub(crate) resolvers: Vec<SocketAddr>,
    pub(crate) limits: Limits,
    pub(crate) hosts: Vec<(String, Vec<IpAddr>)>,
    pub(crate) own: Vec<IpAddr>,
    pub(crate) mutant: Option<Mutant>,
}

/// The section `network` that the YAML `text` declares.
pub(crate) fn network(text: &str) -> Network {
    let document = Document::parse("test", &format!("network: {text}"));
    document.unwrap_or_else(|problems| panic!("{problems}")).policy.network
}

impl Lab {
    pub(crate) fn new(policy: &str) -> Self {
        Self::with(policy, Setting::default())
    }

    pub(crate) fn with(policy: &str, setting: Setting) -> Self {
        let namespace = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            assert_no_uplink();
            ip(INSIDE);
            File::open("/proc/thread-self/ns/net").expect("its file")
        });
        let namespace = namespace.join().expect("a namespace");
        let mut config = Config::new(network(policy), setting.resolvers);
        config.limits = setting.limits;
        config.hosts = setting.hosts;
        config.own = setting.own;
        config.mutant = setting.mutant;
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        let mut lab = Self { namespace, gateway: None, events };
        let sockets = lab.inside(sockets);
        let gateway = Gateway::start(config, sockets, move |event| {
            let is_mistake = matches!(&event, Event::NameDenied { name, .. } if name == MISTAKE);
            told.lock().expect("lock").push(event);
            assert!(!is_mistake, "a mistake on the gateway's thread");
        });
        lab.gateway = Some(gateway.expect("a gateway"));
        lab
    }

    /// The namespace, to be entered.
    pub(crate) fn namespace(&self) -> File {
        self.namespace.try_clone().expect("a descriptor")
    }

    /// Does `work` inside.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("the namespace is entered");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Connects inside.
    pub(crate) fn connect(&self, to: &str) -> io::Result<TcpStream> {
        let to: SocketAddr = to.parse().expect("an address");
        self.inside(|| {
            let stream = TcpStream::connect(to)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        })
    }

    /// Whether an echo server answers there; or the error.
    pub(crate) fn echoes(&self, to: &str) -> io::Result<()> {
        echo(&mut self.connect(to)?)
    }

    /// Asserts that a connection to `to` is reset at once and that an event of which `is_it` holds is told.
    pub(crate) fn assert_reset(&self, to: &str, is_it: impl Fn(&Event) -> bool) {
        let error = self.echoes(to).expect_err("it is not to work");
        let kind = error.kind();
        assert!(matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe), "{to}: {error}");
        self.wait_for(is_it);
    }

    /// Waits for an event.
    pub(crate) fn wait_for(&self, is_it: impl Fn(&Event) -> bool) -> Event {
        let start = Instant::now();
        loop {
            if let Some(event) = self.events().into_iter().find(&is_it) {
                return event;
            }
            assert!(start.elapsed() < PATIENCE, "no such event among {:#?}", self.events());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().expect("lock").clone()
    }

    /// The address of family `kind` (1 or 28) that the stub resolver gives `name`; `None`: there is no such name.
    pub(crate) fn ask(&self, name: &str, kind: u16) -> Option<IpAddr> {
        let answer = self.inside(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.set_read_timeout(Some(PATIENCE / 30)).expect("a timeout");
            socket.connect("198.18.0.1:53").expect("the resolver");
            let mut buffer = vec![0; 2048];
            // Datagrams are lost in a flood: a resolver asks again.
            let answered = (0..30).find_map(|_| {
                socket.send(&question(7, name, kind)).expect("sent");
                socket.recv(&mut buffer).ok()
            });
            buffer.truncate(answered.expect("an answer"));
            buffer
        });
        address_in(&answer, kind)
    }
}

/// The address at the end of `answer`, which has no OPT record.
pub(crate) fn address_in(answer: &[u8], kind: u16) -> Option<IpAddr> {
    if answer[6..8] == [0, 0] {
        return None;
    }
    Some(match kind {
        1 => IpAddr::from(<[u8; 4]>::try_from(&answer[answer.len() - 4..]).expect("four bytes")),
        _ => IpAddr::from(<[u8; 16]>::try_from(&answer[answer.len() - 16..]).expect("sixteen bytes")),
    })
}

fn sockets() -> Sockets {
    let mut sockets = Sockets::default();
    for port in PORTS {
        let listener = TcpListener::bind(format!("[::]:{port}")).expect("a listener");
        // The backlog of the standard library is short for a thousand at once.
        sockets.tcp.push(OwnedFd::from(listener));
        let socket = UdpSocket::bind(format!("[::]:{port}")).expect("a socket");
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).expect("IPV6_RECVPKTINFO");
        sockets.udp.push(OwnedFd::from(socket));
    }
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let raw = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw);
        sockets.raw.push(raw.expect("a raw socket"));
    }
    sockets
}

/// Asserts that soon nobody listens: a child that another test is just starting holds all descriptors until it executes.
pub(crate) fn assert_closed(connect: impl Fn() -> io::Result<TcpStream>) {
    let start = Instant::now();
    loop {
        match connect() {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return,
            other => assert!(start.elapsed() < PATIENCE, "it is still listened on: {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Asks an echo server.
pub(crate) fn echo(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"palisade")?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"palisade");
    Ok(())
}

/// Calls `serve` for each connection to `address` outside, on a thread of its own. Returns how many there were.
pub(crate) fn server(address: &str, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            counted.fetch_add(1, Ordering::SeqCst);
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    count
}

pub(crate) fn echo_server(address: &str) -> Arc<AtomicUsize> {
    server(address, |mut stream| {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    })
}

/// What a resolver outside knows.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// Addresses, and how long they last.
    Addresses(&'static [&'static str], u32),
    /// An alias, with the addresses of what it leads to.
    Alias(&'static str, &'static [&'static str]),
    /// One answer after the other, for as many questions about an IPv4 address; the last for ever.
    Turns(&'static [&'static str]),
}

/// A resolver outside.
pub(crate) struct Resolver {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Resolver {
    pub(crate) fn new(address: &str, zone: &[(&'static str, Said)]) -> Self {
        let socket = UdpSocket::bind(address).expect("a resolver");
        let zone: BTreeMap<String, Said> =
            zone.iter().map(|(name, said)| ((*name).to_owned(), said.clone())).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut turns = 0;
            let mut buffer = [0; 2048];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                let (name, end) = name_at(&buffer, 12);
                let kind = buffer[end + 1];
                log.lock().expect("lock").push(name.clone());
                let answer = said(&buffer[..length], end, kind, zone.get(&name), &mut turns);
                let _ = socket.send_to(&answer, client);
            }
        });
        Self { address: address.parse().expect("an address"), asked }
    }

    /// The names that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("lock").clone()
    }
}

fn said(query: &[u8], end: usize, kind: u8, known: Option<&Said>, turns: &mut usize) -> Vec<u8> {
    let mut answer = query[..end + 4].to_vec();
    answer[2..4].copy_from_slice(&[0x81, if known.is_some() { 0x80 } else { 0x83 }]);
    answer[6..12].fill(0);
    let mut count = 0;
    let mut put = |owner: &[u8], kind: u8, ttl: u32, data: &[u8]| {
        answer.extend_from_slice(owner);
        answer.extend_from_slice(&[0, kind, 0, 1]);
        answer.extend_from_slice(&ttl.to_be_bytes());
        answer.extend_from_slice(&u16::try_from(data.len()).expect("short").to_be_bytes());
        answer.extend_from_slice(data);
        count += 1;
    };
    let mut owner = vec![0xc0, 12];
    let (addresses, ttl): (&[&str], u32) = match known {
        None => (&[], 0),
        Some(Said::Addresses(addresses, ttl)) => (addresses, *ttl),
        Some(Said::Alias(to, addresses)) => {
            let target = wire(to);
            put(&owner, 5, 60, &target);
            owner = target;
            (addresses, 60)
        }
        Some(Said::Turns(addresses)) => {
            let at = (*turns).min(addresses.len() - 1);
            *turns += usize::from(kind == 1);
            (&addresses[at..=at], 0)
        }
    };
    for address in addresses {
        match address.parse().expect("an address") {
            IpAddr::V4(address) if kind == 1 => put(&owner, kind, ttl, &address.octets()),
            IpAddr::V6(address) if kind == 28 => put(&owner, kind, ttl, &address.octets()),
            _ => {}
        }
    }
    answer[7] = count;
    answer
}

fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).expect("a label"));
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

fn name_at(message: &[u8], mut at: usize) -> (String, usize) {
    let mut labels = Vec::new();
    while message[at] != 0 {
        let length = usize::from(message[at]);
        labels.push(String::from_utf8_lossy(&message[at + 1..=at + length]).into_owned());
        at += 1 + length;
    }
    (labels.join("."), at + 1)
}

/// A query without EDNS.
pub(crate) fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend_from_slice(&wire(name));
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}
