//! What is carried, and how it ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use palisade_gateway::{Event, Limit, Limits};

use crate::Case;
use crate::lab::{Lab, MISTAKE, PATIENCE, Setting, assert_closed, echo, echo_server, question, server};

pub(crate) const ALL: &[Case] = &[
    ("relay::half_close", half_close),
    ("relay::reset_by_the_client", reset_by_the_client),
    ("relay::reset_by_the_server", reset_by_the_server),
    ("relay::large_transfers", large_transfers),
    ("relay::many_at_once", many_at_once),
    ("relay::a_slow_reader_keeps_nobody_waiting", a_slow_reader_keeps_nobody_waiting),
    ("relay::idle_connections", idle_connections),
    ("relay::refusing_host", refusing_host),
    ("relay::dead_host", dead_host),
    ("relay::too_many_connections", too_many_connections),
    ("relay::too_many_at_a_time_wait", too_many_at_a_time_wait),
    ("relay::the_end_of_the_gateway", the_end_of_the_gateway),
    ("relay::a_mistake_is_the_end", a_mistake_is_the_end),
    ("relay::datagrams", datagrams),
    ("relay::datagrams_that_nobody_takes", datagrams_that_nobody_takes),
    ("relay::too_many_flows", too_many_flows),
];

const POLICY: &str = "{ mode: allowlist, allow: [{ cidr: 93.184.0.0/16, ports: [80, 443] }, { cidr: 93.184.0.0/16, ports: [80, 443], protocol: udp }] }";

fn reset(stream: &TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(stream, sockopt::Linger, &linger).unwrap();
}

fn half_close() {
    let lab = Lab::new(POLICY);
    server("93.184.20.1:443", |mut stream| {
        let mut request = Vec::new();
        stream.read_to_end(&mut request).expect("the end of the request");
        stream.write_all(&request).unwrap();
        stream.write_all(b" and more").unwrap();
    });
    let mut stream = lab.connect("93.184.20.1:443").unwrap();
    stream.write_all(b"all of it").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer after the end");
    assert_eq!(answer, "all of it and more");
    // The other way round.
    server("93.184.20.2:443", |mut stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"still here");
        reset(&stream);
    });
    let mut stream = lab.connect("93.184.20.2:443").unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    stream.write_all(b"still here").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    while lab.gateway.as_ref().unwrap().usage().connections > 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn reset_by_the_client() {
    let lab = Lab::new(POLICY);
    let (sender, receiver) = mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    server("93.184.21.1:443", move |mut stream| {
        let mut buffer = [0; 64];
        let error = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break None,
                Ok(_) => {}
                Err(error) => break Some(error.kind()),
            }
        };
        sender.lock().unwrap().send(error).unwrap();
    });
    let mut stream = lab.connect("93.184.21.1:443").unwrap();
    stream.write_all(b"x").unwrap();
    reset(&stream);
    drop(stream);
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), Some(ErrorKind::ConnectionReset));
    // A control: an orderly end is an end.
    drop(lab.connect("93.184.21.1:443").unwrap());
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), None);
}

fn reset_by_the_server() {
    let lab = Lab::new(POLICY);
    server("93.184.22.1:443", |mut stream| {
        stream.read_exact(&mut [0]).unwrap();
        reset(&stream);
    });
    let mut stream = lab.connect("93.184.22.1:443").unwrap();
    stream.write_all(b"x").unwrap();
    assert_eq!(stream.read_exact(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    // Also while the client has said its last word, and only waits.
    let mut stream = lab.connect("93.184.22.1:443").unwrap();
    stream.write_all(b"x").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read_exact(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// A byte that depends on where it stands.
fn pattern(at: usize) -> u8 {
    u8::try_from((at ^ at >> 8 ^ at >> 16) & 0xff).unwrap()
}

fn transfer(lab: &Lab, address: &str, bytes: usize) {
    // Sends back everything, so both directions are full at once.
    let mut reader = lab.connect(address).unwrap();
    let mut writer = reader.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let chunk: Vec<u8> = (0..bytes).map(pattern).collect();
            writer.write_all(&chunk).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut all = Vec::with_capacity(bytes);
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), bytes);
        assert!(all.iter().enumerate().all(|(at, &byte)| byte == pattern(at)));
    });
}

fn large_transfers() {
    let lab = Lab::new(POLICY);
    echo_server("93.184.23.1:443");
    transfer(&lab, "93.184.23.1:443", 32 << 20);
    let usage = lab.gateway.as_ref().unwrap().usage();
    assert_eq!((usage.sent, usage.received), (32 << 20, 32 << 20));
}

/// Those that carry much go on by more threads than one, and end in each way as they would have.
fn many_at_once() {
    let lab = Lab::new(POLICY);
    echo_server("93.184.24.1:443");
    let carriers = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
        let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        names.filter(|name| name.trim() == "palisade-carrie").count()
    };
    transfer(&lab, "93.184.24.1:443", 16 << 20);
    assert_eq!(carriers(), 0, "one alone needs nobody else");
    let seen = std::thread::scope(|scope| {
        let transfers: Vec<_> =
            (0..6).map(|_| scope.spawn(|| transfer(&lab, "93.184.24.1:443", 32 << 20))).collect();
        let mut seen = 0;
        while transfers.iter().any(|transfer| !transfer.is_finished()) {
            seen = seen.max(carriers());
            std::thread::sleep(Duration::from_millis(1));
        }
        seen
    });
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    assert!((1..=3).contains(&seen) || processors == 1, "{seen}");
    let usage = lab.gateway.as_ref().unwrap().usage();
    assert_eq!((usage.sent, usage.received), (208 << 20, 208 << 20));
    server("93.184.24.2:443", |mut stream| {
        stream.write_all(&[7; 16 << 20]).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        reset(&stream);
    });
    let mut streams: Vec<TcpStream> = (0..3).map(|_| lab.connect("93.184.24.2:443").unwrap()).collect();
    std::thread::scope(|scope| {
        for stream in &mut streams {
            scope.spawn(|| {
                stream.read_exact(&mut vec![0; 16 << 20]).unwrap();
                stream.write_all(b"x").unwrap();
                assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
            });
        }
    });
    let start = std::time::Instant::now();
    while lab.gateway.as_ref().unwrap().usage().connections > 0 {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(lab);
    assert_eq!(carriers(), 0, "they end with the gateway");
}

fn a_slow_reader_keeps_nobody_waiting() {
    let lab = Lab::new(POLICY);
    echo_server("93.184.25.1:443");
    const BYTES: usize = 24 << 20;
    server("93.184.25.2:443", |mut stream| {
        let _ = stream.write_all(&vec![7; BYTES]);
    });
    let mut slow: Vec<TcpStream> = (0..4).map(|_| lab.connect("93.184.25.2:443").unwrap()).collect();
    let mut before = u64::MAX;
    // Until everything between them is full.
    while before != lab.gateway.as_ref().unwrap().usage().received {
        before = lab.gateway.as_ref().unwrap().usage().received;
        std::thread::sleep(Duration::from_millis(100));
    }
    transfer(&lab, "93.184.25.1:443", 1 << 20);
    for stream in &mut slow {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), BYTES);
    }
}

fn idle_connections() {
    let count = crate::lab::idle_connections();
    let lab = Lab::new(POLICY);
    // Without a thread for each: this is about the gateway.
    let listener = TcpListener::bind("93.184.26.1:443").unwrap();
    let accept =
        std::thread::spawn(move || (0..count).map(|_| listener.accept().unwrap().0).collect::<Vec<_>>());
    let mut clients: Vec<TcpStream> = lab.inside(|| {
        (0..count)
            .map(|_| {
                let stream = TcpStream::connect("93.184.26.1:443").unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream
            })
            .collect()
    });
    let mut servers = accept.join().unwrap();
    let usage = lab.gateway.as_ref().unwrap().usage();
    assert_eq!(usage.connections, count);
    for (index, client) in clients.iter_mut().enumerate().filter(|(index, _)| index % 97 == 0) {
        client.write_all(&index.to_be_bytes()).unwrap();
    }
    // They were accepted in some order: what each says comes out at one of them, and nowhere else.
    let mut seen = Vec::new();
    for server in &mut servers {
        server.set_nonblocking(true).unwrap();
    }
    let wanted: Vec<usize> = (0..count).filter(|index| index % 97 == 0).collect();
    let start = std::time::Instant::now();
    while seen.len() < wanted.len() && start.elapsed() < PATIENCE {
        for server in &mut servers {
            let mut index = [0; 8];
            if let Ok(8) = server.read(&mut index) {
                seen.push(usize::from_be_bytes(index));
            }
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, wanted);
    drop(clients);
    drop(servers);
    while lab.gateway.as_ref().unwrap().usage().connections > 0 {
        assert!(start.elapsed() < PATIENCE * 2);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn refusing_host() {
    let lab = Lab::new(POLICY);
    lab.assert_reset("93.184.27.1:443", |event| {
        matches!(event, Event::Failed { errno: nix::libc::ECONNREFUSED, .. })
    });
}

/// Makes a host that does not answer: a listener whose queue is full drops what asks for a connection.
fn dead(address: &str) -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind(address).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let connect = || TcpStream::connect_timeout(&address.parse().unwrap(), Duration::from_millis(300)).ok();
    let queue: Vec<TcpStream> = std::iter::from_fn(connect).take(4).collect();
    assert!(!queue.is_empty() && queue.len() < 4, "the queue is full: {}", queue.len());
    (listener, queue)
}

fn dead_host() {
    let limits = Limits { connect_timeout: Duration::from_millis(300), ..Limits::default() };
    let lab = Lab::with(POLICY, Setting { limits, ..Setting::default() });
    let _queue = dead("93.184.28.1:443");
    lab.assert_reset("93.184.28.1:443", |event| {
        matches!(event, Event::Failed { errno: nix::libc::ETIMEDOUT, .. })
    });
}

fn too_many_connections() {
    let limits = Limits { connections: 3, ..Limits::default() };
    let lab = Lab::with(POLICY, Setting { limits, ..Setting::default() });
    echo_server("93.184.29.1:443");
    let mut held: Vec<TcpStream> = (0..3).map(|_| lab.connect("93.184.29.1:443").unwrap()).collect();
    for stream in &mut held {
        echo(stream).unwrap();
    }
    lab.assert_reset("93.184.29.1:443", |event| *event == Event::LimitHit { which: Limit::Connections });
    held.pop();
    while lab.gateway.as_ref().unwrap().usage().connections > 2 {
        std::thread::sleep(Duration::from_millis(2));
    }
    lab.echoes("93.184.29.1:443").expect("there is room again");
    echo(&mut held[0]).expect("the others never noticed");
}

fn too_many_at_a_time_wait() {
    let limits = Limits { pending: 1, ..Limits::default() };
    let lab = Lab::with(POLICY, Setting { limits, ..Setting::default() });
    echo_server("93.184.33.1:443");
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| lab.echoes("93.184.33.1:443").expect("its turn came"));
        }
    });
    // One that is dead has the only place, until it is given up.
    let _queue = dead("93.184.33.2:443");
    let limits = Limits { pending: 1, connect_timeout: Duration::from_millis(500), ..Limits::default() };
    let lab = Lab::with(POLICY, Setting { limits, ..Setting::default() });
    let mut waiting: Vec<TcpStream> = (0..4).map(|_| lab.connect("93.184.33.2:443").unwrap()).collect();
    for stream in &mut waiting {
        assert_eq!(stream.read_exact(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    lab.wait_for(|event| *event == Event::LimitHit { which: Limit::Pending });
    lab.echoes("93.184.33.1:443").expect("there is room again");
}

fn the_end_of_the_gateway() {
    let mut lab = Lab::new(POLICY);
    echo_server("93.184.30.1:443");
    let mut stream = lab.connect("93.184.30.1:443").unwrap();
    echo(&mut stream).unwrap();
    lab.gateway.take().unwrap().stop();
    assert!(echo(&mut stream).is_err());
    assert_closed(|| lab.connect("93.184.30.1:443"));
}

fn a_mistake_is_the_end() {
    let lab = Lab::new(POLICY);
    echo_server("93.184.34.1:443");
    let mut stream = lab.connect("93.184.34.1:443").unwrap();
    echo(&mut stream).unwrap();
    lab.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.send_to(&question(1, MISTAKE, 1), "198.18.0.1:53").unwrap();
    });
    lab.wait_for(|event| matches!(event, Event::Died { message } if message.contains("a mistake")));
    assert!(echo(&mut stream).is_err(), "nothing is carried any more");
    assert_closed(|| lab.connect("93.184.34.1:443"));
}

fn udp_echo(address: &str) -> std::sync::Arc<std::sync::atomic::AtomicUsize> {
    let socket = UdpSocket::bind(address).unwrap();
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&count);
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = socket.send_to(&buffer[..length], client);
        }
    });
    count
}

/// A socket inside that receives from `to` alone, as a resolver's would.
fn udp_client(lab: &Lab, to: &str) -> UdpSocket {
    let to: std::net::SocketAddr = to.parse().unwrap();
    lab.inside(|| {
        let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
        socket.connect(to).unwrap();
        socket
    })
}

fn datagrams() {
    let lab = Lab::new(
        "{ mode: allowlist, allow: [{ cidr: 93.184.31.0/24, ports: [443], protocol: udp }, { cidr: \"2600:9999:31::/48\", ports: [443], protocol: udp }] }",
    );
    udp_echo("93.184.31.1:443");
    udp_echo("[2600:9999:31::1]:443");
    let denied = udp_echo("93.184.31.1:80");
    for to in ["93.184.31.1:443", "[2600:9999:31::1]:443"] {
        let socket = udp_client(&lab, to);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        for length in [1, 1000, 30_000] {
            socket.send(&vec![9; length]).unwrap();
            let mut buffer = [0; 65_536];
            assert_eq!(socket.recv(&mut buffer).unwrap(), length, "{to}");
        }
    }
    assert_eq!(lab.gateway.as_ref().unwrap().usage().udp_flows, 2);
    let socket = udp_client(&lab, "93.184.31.1:80");
    for _ in 0..6 {
        // Every other one is told of the refusal of the one before, and sends nothing.
        let _ = socket.send(b"x");
    }
    lab.wait_for(|event| matches!(event, Event::Denied { port: 80, .. }));
    let told = |event: &&Event| matches!(event, Event::Denied { port: 80, .. });
    assert_eq!(lab.events().iter().filter(told).count(), 1, "a flow is told of once");
    assert_eq!(denied.load(Ordering::SeqCst), 0);
    // TCP is not allowed by a rule for UDP.
    lab.assert_reset("93.184.31.1:443", |event| matches!(event, Event::Denied { port: 443, .. }));
}

/// Denied, and allowed to where nobody listens: the sender hears the same, at once.
fn datagrams_that_nobody_takes() {
    let lab = Lab::new(
        "{ mode: allowlist, allow: [{ cidr: 93.184.35.0/24, ports: [443], protocol: udp }, { cidr: \"2600:9999:35::/48\", ports: [443], protocol: udp }] }",
    );
    udp_echo("93.184.35.1:443");
    let dials = [
        "93.184.35.1:80",
        "[2600:9999:35::1]:80",
        "93.184.36.1:443",
        "93.184.35.2:443",
        "[2600:9999:35::2]:443",
    ];
    for to in dials {
        let socket = udp_client(&lab, to);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        for length in [1, 1400] {
            // The error of the one before may be told here.
            let _ = socket.send(&vec![1; length]);
            let error = socket.recv(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{to}, {length} bytes");
        }
    }
    let socket = udp_client(&lab, "93.184.35.1:443");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(b"x").unwrap();
    assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 1, "a control");
}

fn too_many_flows() {
    let limits = Limits { udp_flows: 2, ..Limits::default() };
    let lab = Lab::with(POLICY, Setting { limits, ..Setting::default() });
    udp_echo("93.184.32.1:443");
    for _ in 0..5 {
        let socket = udp_client(&lab, "93.184.32.1:443");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(b"x").unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 1, "the newest has its turn");
    }
    lab.wait_for(|event| *event == Event::LimitHit { which: Limit::UdpFlows });
    assert!(lab.gateway.as_ref().unwrap().usage().udp_flows <= 3);
}
