//! The explicit proxies: another way to ask, the same answers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;

use palisade_gateway::{Event, Mutant, Reason};

use crate::Case;
use crate::lab::{Lab, Resolver, Said, Setting, echo, echo_server, server};

pub(crate) const ALL: &[Case] = &[
    ("proxy::connect", connect),
    ("proxy::connect_is_refused", connect_is_refused),
    ("proxy::plain_http", plain_http),
    ("proxy::socks", socks),
    ("proxy::only_where_the_policy_asks", only_where_the_policy_asks),
    ("proxy::garbage", garbage),
];

const POLICY: &str = "{ mode: allowlist, proxy: environment, allow: [{ host: a.example, ports: [80, 443] }, { cidr: 93.184.0.0/16, ports: [443] }] }";

fn lab(resolver: &Resolver, mutant: Option<Mutant>) -> Lab {
    Lab::with(POLICY, Setting { resolvers: vec![resolver.address], mutant, ..Setting::default() })
}

/// The first line of the answer to `request`.
fn http(lab: &Lab, proxy: &str, request: &[u8]) -> (String, TcpStream) {
    let mut stream = lab.connect(proxy).expect("the proxy");
    stream.write_all(request).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    (head.lines().next().unwrap().to_owned(), stream)
}

fn connect() {
    let zone = [("a.example", Said::Addresses(&["93.184.40.1"], 60))];
    let resolver = Resolver::new("93.184.40.53:53", &zone);
    let lab = lab(&resolver, None);
    echo_server("93.184.40.1:443");
    for host in ["a.example", "A.EXAMPLE.", "93.184.40.1", "0x5db82801", "1572349953", "[::ffff:93.184.40.1]"]
    {
        for proxy in ["198.18.0.1:3128", "[fd70:616c:6973:ade0::1]:3128"] {
            let request = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let (status, mut stream) = http(&lab, proxy, request.as_bytes());
            assert_eq!(status, "HTTP/1.1 200 Connection established", "{host}");
            echo(&mut stream).unwrap();
        }
    }
    // What comes with the request is not lost.
    let (_, mut stream) = http(&lab, "198.18.0.1:3128", b"CONNECT a.example:443 HTTP/1.1\r\n\r\nearly");
    let mut early = [0; 5];
    stream.read_exact(&mut early).unwrap();
    assert_eq!(&early, b"early");
}

fn connect_is_refused() {
    let zone = [("a.example", Said::Addresses(&["10.41.0.1"], 60))];
    let resolver = Resolver::new("93.184.41.53:53", &zone);
    let sound = lab(&resolver, None);
    let reached = echo_server("10.41.0.1:443");
    let local = echo_server("127.0.0.41:443");
    let cases = [
        ("a.example:443", "403"),
        ("a.example:444", "403"),
        ("b.example:443", "403"),
        ("10.41.0.1:443", "403"),
        ("127.0.0.41:443", "403"),
        ("0x7f000029:443", "403"),
        ("0177.0.0.051:443", "403"),
        ("127.41:443", "403"),
        ("2130706473:443", "403"),
        ("[::ffff:127.0.0.41]:443", "403"),
        ("[::127.0.0.41]:443", "403"),
        ("169.254.169.254:443", "403"),
        ("[64:ff9b::a9fe:a9fe]:443", "403"),
        ("198.18.0.1:53", "403"),
        ("u:p@93.184.41.1:443", "400"),
        ("93.184.41.1:443:80", "400"),
        ("93.184.41.1:65979", "400"),
        ("93.184.41.1", "400"),
        ("93.184.41.2:443", "502"),
    ];
    for (target, status) in cases {
        let (line, _) =
            http(&sound, "198.18.0.1:3128", format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes());
        assert_eq!(line.split(' ').nth(1), Some(status), "{target}");
    }
    assert_eq!((reached.load(Ordering::SeqCst), local.load(Ordering::SeqCst)), (0, 0));
    sound.wait_for(|event| {
        matches!(event, Event::Denied { name: Some(name), port: 443, reason: Reason::SpecialUse(_), address, .. }
            if name == "a.example" && address.port() == 3128)
    });
    let broken = lab(&resolver, Some(Mutant::ProxyUnchecked));
    let (line, _) = http(&broken, "198.18.0.1:3128", b"CONNECT 0x7f000029:443 HTTP/1.1\r\n\r\n");
    assert!(line.contains("200"), "the mutant reaches the host's loopback: {line}");
}

fn plain_http() {
    let zone = [("a.example", Said::Addresses(&["93.184.42.1"], 60))];
    let resolver = Resolver::new("93.184.42.53:53", &zone);
    let lab = lab(&resolver, None);
    server("93.184.42.1:80", |mut stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let answer =
            format!("HTTP/1.1 200 {}\r\n\r\n", String::from_utf8(head).unwrap().replace("\r\n", "|"));
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let (line, _) =
        http(&lab, "198.18.0.1:3128", b"GET http://a.example/x HTTP/1.1\r\nHost: evil\r\nA: b\r\n\r\n");
    assert_eq!(line, "HTTP/1.1 200 GET /x HTTP/1.1|Host: a.example|Connection: close|A: b||");
    let (line, _) = http(&lab, "198.18.0.1:3128", b"GET http://b.example/ HTTP/1.1\r\n\r\n");
    assert!(line.contains("403"), "{line}");
    let (line, _) = http(&lab, "198.18.0.1:3128", b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(line.contains("400"), "{line}");
}

fn socks() {
    let zone = [("a.example", Said::Addresses(&["93.184.43.1"], 60))];
    let resolver = Resolver::new("93.184.43.53:53", &zone);
    let lab = lab(&resolver, None);
    echo_server("93.184.43.1:443");
    let ask = |request: &[u8]| {
        let mut stream = lab.connect("198.18.0.1:1080").expect("the proxy");
        stream.write_all(&[5, 1, 0]).unwrap();
        let mut method = [0; 2];
        stream.read_exact(&mut method).unwrap();
        assert_eq!(method, [5, 0]);
        stream.write_all(request).unwrap();
        let mut reply = [0; 10];
        stream.read_exact(&mut reply).unwrap();
        (reply[1], stream)
    };
    let by_name = |name: &str, port: u16| {
        [&[5, 1, 0, 3, u8::try_from(name.len()).unwrap()], name.as_bytes(), &port.to_be_bytes()].concat()
    };
    for request in
        [by_name("a.example", 443), by_name("93.184.11009", 443), vec![5, 1, 0, 1, 93, 184, 43, 1, 1, 187]]
    {
        let (reply, mut stream) = ask(&request);
        assert_eq!(reply, 0, "{request:?}");
        echo(&mut stream).unwrap();
    }
    assert_eq!(ask(&by_name("b.example", 443)).0, 2);
    assert_eq!(ask(&by_name("127.1", 443)).0, 2);
    assert_eq!(ask(&by_name("a.example\0", 443)).0, 2);
    assert_eq!(ask(&by_name("93.184.43.9", 443)).0, 5, "nobody listens there");
    assert_eq!(ask(&[5, 2, 0, 1, 93, 184, 43, 1, 1, 187]).0, 7, "it binds nothing");
    // Somebody who insists on a password.
    let mut stream = lab.connect("198.18.0.1:1080").unwrap();
    stream.write_all(&[5, 1, 2]).unwrap();
    let mut method = [0; 2];
    stream.read_exact(&mut method).unwrap();
    assert_eq!(method, [5, 0xff]);
}

fn only_where_the_policy_asks() {
    let lab = Lab::new("{ mode: allowlist, allow: [{ cidr: 93.184.0.0/16, ports: [443] }] }");
    for to in ["198.18.0.1:3128", "198.18.0.1:1080", "198.18.0.1:443"] {
        lab.assert_reset(to, |event| matches!(event, Event::Denied { reason: Reason::UnknownName, .. }));
    }
}

fn garbage() {
    let resolver = Resolver::new("93.184.44.53:53", &[]);
    let lab = lab(&resolver, None);
    for (proxy, said) in [
        ("198.18.0.1:3128", vec![b'a'; 40_000]),
        ("198.18.0.1:3128", b"\x16\x03\x01\x02\x00\x01\r\n\r\n".to_vec()),
        ("198.18.0.1:1080", vec![4, 1, 0, 80, 1, 2, 3, 4, 0]),
        ("198.18.0.1:1080", vec![0xff; 40_000]),
    ] {
        let mut stream = lab.connect(proxy).unwrap();
        let _ = stream.write_all(&said);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    }
    while lab.gateway.as_ref().unwrap().usage().connections > 0 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
