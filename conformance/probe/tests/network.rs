//! The operations on sockets, and the guard. Nothing here leaves the machine: listeners are on loopback, refusals are provoked
//! with 0.0.0.0, everything else happens in a fresh network namespace.

mod native;

use std::process::Command;

use native::{NONCE_TEXT, once, program, seen, succeeds};
use palisade_probe::script::{Script, parse_output};
use palisade_probe::{attempt, refusal};

const ECONNREFUSED: u16 = 111;

#[test]
fn loopback_network() {
    assert_eq!(succeeds(attempt!("loopback_tcp")).0, 0);
    if std::path::Path::new("/proc/self/net/if_inet6").exists() {
        assert_eq!(succeeds(attempt!("loopback_tcp", "v6")).0, 0);
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    let answering = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut line = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(&stream), &mut line).expect("read");
            std::io::Write::write_all(&mut stream, format!("heard {line}").as_bytes()).expect("write");
        }
        listener
    });
    let nonce = palisade_probe::script::NONCE;
    for operation in ["tcp", "tcp_fastopen"] {
        let (ret, data) = succeeds(attempt!(operation, "127.0.0.1", port, nonce.clone(), 2000));
        assert_eq!((ret, data), (0, format!("heard {NONCE_TEXT}\n")), "{operation}");
    }
    let (ret, errno, data) = once(attempt!("mptcp", "127.0.0.1", port, "text\n", 2000));
    if errno != 0 {
        // A kernel without CONFIG_MPTCP; the listener still waits for its third line.
        assert_eq!((ret, errno), (-1, 93), "{data}");
        succeeds(attempt!("tcp", "127.0.0.1", port, "text\n", 2000));
    } else {
        assert_eq!(data, "heard text\n");
    }
    drop(answering.join().expect("listener"));
    assert_eq!(once(attempt!("tcp", "127.0.0.1", port, "x", 2000)).1, ECONNREFUSED);
    assert_eq!(once(attempt!("tcp", "127.0.0", port, "x", 2000)).1, refusal::BAD_OPERAND);
    assert_eq!(once(attempt!("tcp", "127.0.0.1", 65_536, "x", 2000)).1, refusal::BAD_OPERAND);
}

#[test]
fn datagrams_and_dns() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    let port = socket.local_addr().expect("address").port();
    let answering = std::thread::spawn(move || {
        let mut packet = [0; 512];
        let (count, from) = socket.recv_from(&mut packet).expect("receive");
        socket.send_to(&packet[..count], from).expect("send");
        // A DNS answer: the question sent back as a response, NXDOMAIN, with two answers that it does not carry.
        let (count, from) = socket.recv_from(&mut packet).expect("receive");
        let question = packet[..count].to_vec();
        packet[2..4].copy_from_slice(&[0x81, 0x83]);
        packet[6..8].copy_from_slice(&[0, 2]);
        socket.send_to(&packet[..count], from).expect("send");
        // The third is not answered.
        socket.recv_from(&mut packet).expect("receive");
        question
    });
    assert_eq!(succeeds(attempt!("udp", "127.0.0.1", port, "echo", 2000)), (4, "echo".to_owned()));
    let query = attempt!("dns_query", "127.0.0.1", "www.example.", 2000, 28, port);
    assert_eq!(succeeds(query), (2, "rcode=3 answers=2".to_owned()));
    assert_eq!(once(attempt!("udp", "127.0.0.1", port, "x", 100)).1, 110);
    let question = answering.join().expect("server");
    assert_eq!(&question[12..], b"\x03www\x07example\x00\x00\x1c\x00\x01");
}

/// The links of this namespace decide what the guard has to say.
#[test]
fn the_guard_refuses_what_could_leave() {
    let links = std::fs::read_to_string("/proc/self/net/dev").expect("links");
    let mut names = links.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    if names.all(|name| name == "lo") {
        assert!(std::env::var_os("PALISADE_MUST_WORK").is_none(), "run the tests outside an empty namespace");
        eprintln!("skipped: this network namespace has no links to refuse");
        return;
    }
    // 0.0.0.0 is this machine for connect(2): were the guard broken, nothing would leave.
    let guarded = [
        attempt!("tcp", "0.0.0.0", 9, "x", 100),
        attempt!("tcp_fastopen", "0.0.0.0", 9, "x", 100),
        attempt!("mptcp", "::", 9, "x", 100),
        attempt!("udp", "::ffff:127.0.0.1", 9, "x", 100),
        attempt!("udplite", "0.0.0.0", 9, "x", 100),
        attempt!("dns_query", "0.0.0.0", "name", 100),
        attempt!("uring_connect", "0.0.0.0", 9),
    ];
    for statement in guarded {
        let text = statement.to_string();
        let (ret, errno, data) = once(statement);
        assert_eq!((ret, errno), (-1, refusal::GUARD), "{text}");
        assert!(data.starts_with("guard: link "), "{text}: {data}");
    }
}

/// Runs a script in a fresh network namespace that `prepare` (a shell text) has changed; `None` with a message where
/// this machine cannot.
fn in_namespace(prepare: &str, script: Script) -> Option<palisade_probe::script::Transcript> {
    let probe = program();
    let run = format!("{prepare}\nexec \"$0\" \"$@\"");
    let output = Command::new("unshare")
        .args(["-Urnm", "--", "/bin/sh", "-ec", &run])
        .arg(probe)
        .args(script.argv(NONCE_TEXT).expect("script"))
        .output();
    let reason = match output {
        Ok(output) if output.status.success() => return Some(parse_output(&output.stdout, NONCE_TEXT)),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    assert!(std::env::var_os("PALISADE_MUST_WORK").is_none(), "{prepare}: {reason}");
    eprintln!("skipped: no private network namespace with {prepare:?}: {reason}");
    None
}

#[test]
fn the_guard_knows_the_lab() {
    let hide_proc = "mount -t tmpfs none /proc";
    let veth = |name: &str| format!("ip link add {name} type veth peer name plsd8");
    let route = |name: &str| {
        format!(
            "{}; ip addr add 10.9.9.1/24 dev {name}; ip link set {name} up; ip link set plsd8 up; \
             ip route add default via 10.9.9.2",
            veth(name)
        )
    };
    let any = "ip link set lo up; ip route add local default dev lo";
    let route6 = |name: &str| {
        format!(
            "{}; ip addr add fd00:9::1/64 dev {name}; ip link set {name} up; ip link set plsd8 up; \
             ip -6 route add default dev {name}",
            veth(name)
        )
    };
    // `gre0` is a link that may be there, and may not lead anywhere.
    let cases: [(String, Option<&str>); 11] = [
        (route6("gre0"), Some("guard: default IPv6 route by gre0")),
        (route6("plsd9"), None),
        ("true".to_owned(), None),
        (any.to_owned(), None),
        (veth("plsd9"), None),
        (veth("eth9"), Some("guard: link eth9")),
        (route("gre0"), Some("guard: default route by gre0")),
        (route("plsd9"), None),
        (hide_proc.to_owned(), None),
        (format!("{}; {hide_proc}", veth("eth9")), Some("guard: link eth9")),
        (format!("{}; {hide_proc}", route("gre0")), Some("guard: default route")),
    ];
    for (prepare, refused) in cases {
        let script = Script::from([attempt!("udp", "0.0.0.0", 9, "x", 50)]);
        let Some(transcript) = in_namespace(&prepare, script) else { continue };
        let (_, errno, data) = seen(&transcript, 0);
        match refused {
            Some(reason) => assert_eq!((errno, data.as_str()), (refusal::GUARD, reason), "{prepare}"),
            None => assert_ne!(errno, refusal::GUARD, "{prepare}: {data}"),
        }
    }
}

#[test]
fn links_and_routes_are_counted() {
    let script = || Script::from([attempt!("getifaddrs"), attempt!("route_count")]);
    if let Some(empty) = in_namespace("ip link set lo up", script()) {
        assert_eq!(seen(&empty, 0).0, 1);
        assert!(seen(&empty, 0).2.starts_with("lo addresses="), "{}", seen(&empty, 0).2);
        assert_eq!(seen(&empty, 1), (0, 0, String::new()));
    }
    let busy = "ip link add plsd9 type veth peer name plsd8; ip addr add 10.9.9.1/24 dev plsd9; \
        ip link set plsd9 up; ip link set plsd8 up";
    if let Some(busy) = in_namespace(busy, script()) {
        assert_eq!(seen(&busy, 0).0, 3);
        assert!(seen(&busy, 1).0 >= 2, "{}", seen(&busy, 1).2);
        assert!(seen(&busy, 1).2.contains("family=2 length=24 table=254 link="), "{}", seen(&busy, 1).2);
    }
}

#[test]
fn unix_sockets() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("socket");
    let name = format!("palisade-probe-test-{}", std::process::id());
    let listeners = [
        UnixListener::bind(&path).expect("bind"),
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).expect("name")).expect("bind"),
    ];
    let addresses = [path.to_string_lossy().into_owned(), format!("\0{name}")];
    for (listener, address) in listeners.into_iter().zip(addresses) {
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            std::io::Write::write_all(&mut stream, b"here").expect("write");
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut stream, &mut text).expect("read");
            text
        });
        let statement = attempt!("unix_connect", address, "stream", palisade_probe::script::NONCE);
        assert_eq!(succeeds(statement), (0, "here".to_owned()));
        assert_eq!(answering.join().expect("listener"), format!("{NONCE_TEXT}\n").into_bytes());
    }

    let datagram = directory.path().join("datagram");
    let socket = UnixDatagram::bind(&datagram).expect("bind");
    let answering = std::thread::spawn(move || {
        let mut packet = [0; 16];
        let (_, from) = socket.recv_from(&mut packet).expect("receive");
        socket.send_to_addr(b"back", &from).expect("send");
    });
    assert_eq!(succeeds(attempt!("unix_connect", datagram.as_path(), "dgram", "x")), (0, "back".to_owned()));
    answering.join().expect("socket");
    let nobody = attempt!("unix_connect", "\0palisade-nobody", "stream", "x");
    assert_eq!(once(nobody), (-1, ECONNREFUSED, "connect".to_owned()));
    assert_eq!(succeeds(attempt!("socketpair_pass")).0, 0);
}
