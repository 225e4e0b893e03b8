//! Names: only allowed ones are answered, and what they lead to is judged when they are dialled.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::Ordering;
use std::time::Duration;

use palisade_gateway::{Event, Limit, Limits, Mutant, Reason};

use crate::Case;
use crate::lab::{Lab, PATIENCE, Resolver, Said, Setting, address_in, echo_server, question};

pub(crate) const ALL: &[Case] = &[
    ("names::reach_what_they_stand_for", reach_what_they_stand_for),
    ("names::one_family_outside_is_enough", one_family_outside_is_enough),
    ("names::denied_ones_are_not_asked_for", denied_ones_are_not_asked_for),
    ("names::over_tcp", over_tcp),
    ("names::rebinding", rebinding),
    ("names::rebinding_between_two_questions", rebinding_between_two_questions),
    ("names::unknown_ones_fail", unknown_ones_fail),
    ("names::an_address_that_stands_for_none", an_address_that_stands_for_none),
    ("names::a_second_resolver", a_second_resolver),
    ("names::bounded", bounded),
    ("names::truncated_answers", truncated_answers),
    ("names::guessed_answers", guessed_answers),
    ("names::of_the_host", of_the_host),
    ("names::in_an_open_network", in_an_open_network),
    ("names::over_udp", over_udp),
    ("names::a_resolver_without_ipv6", a_resolver_without_ipv6),
    ("names::floods", floods),
];

const POLICY: &str = "{ mode: allowlist, allow: [{ host: a.example, ports: [443] }, { host: \"*.a.example\", ports: [80, 443] }] }";

fn lab(resolver: &Resolver) -> Lab {
    Lab::with(POLICY, Setting { resolvers: vec![resolver.address], ..Setting::default() })
}

fn at(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

fn reach_what_they_stand_for() {
    let zone = [("a.example", Said::Addresses(&["93.184.10.1", "2600:9999:10::1"], 60))];
    let resolver = Resolver::new("93.184.10.53:53", &zone);
    let lab = lab(&resolver);
    let (v4, v6) = (echo_server("93.184.10.1:443"), echo_server("[2600:9999:10::1]:443"));
    let (given_v4, given_v6) = (lab.ask("A.Example", 1).unwrap(), lab.ask("a.example", 28).unwrap());
    assert!(resolver.asked().is_empty(), "nothing is asked before it is dialled");
    lab.echoes(&at(given_v4, 443)).expect("by its IPv4 address");
    lab.echoes(&at(given_v6, 443)).expect("by its IPv6 address");
    // IPv6 is tried first, whichever was dialled.
    assert_eq!((v4.load(Ordering::SeqCst), v6.load(Ordering::SeqCst)), (0, 2));
    let told = lab.wait_for(|event| matches!(event, Event::Connected { .. }));
    let Event::Connected { name, upstream, rule, .. } = told else { unreachable!() };
    assert_eq!(name.as_deref(), Some("a.example"));
    assert_eq!(
        (upstream.to_string(), rule.as_str()),
        ("[2600:9999:10::1]:443".to_owned(), "network.allow[0]")
    );
    lab.assert_reset(&at(given_v4, 80), |event| {
        matches!(event, Event::Denied { name: Some(name), port: 80, reason: Reason::NoRule, .. } if name == "a.example")
    });
}

fn one_family_outside_is_enough() {
    let zone = [
        ("v4.a.example", Said::Addresses(&["93.184.11.1"], 0)),
        ("v6.a.example", Said::Addresses(&["2600:9999:11::1"], 0)),
        // Nobody listens at the first two.
        ("half.a.example", Said::Addresses(&["93.184.11.9", "2600:9999:11::9", "93.184.11.1"], 0)),
    ];
    let resolver = Resolver::new("93.184.11.53:53", &zone);
    let lab = lab(&resolver);
    echo_server("93.184.11.1:443");
    echo_server("[2600:9999:11::1]:443");
    for name in ["v4.a.example", "v6.a.example", "half.a.example"] {
        for kind in [1, 28] {
            let address = lab.ask(name, kind).expect("it is allowed");
            lab.echoes(&at(address, 443)).unwrap_or_else(|error| panic!("{name} by {address}: {error}"));
        }
    }
}

fn denied_ones_are_not_asked_for() {
    let zone = [
        ("b.example", Said::Addresses(&["93.184.12.1"], 60)),
        ("a.example", Said::Addresses(&["93.184.12.1"], 60)),
    ];
    let resolver = Resolver::new("93.184.12.53:53", &zone);
    let sound = lab(&resolver);
    let denied = [
        "b.example",
        "xa.example",
        "x.y.a.example",
        "example",
        "a.example.b.example",
        "metadata.google.internal",
    ];
    for name in denied {
        assert_eq!(sound.ask(name, 1), None, "{name}");
        sound.wait_for(|event| matches!(event, Event::NameDenied { name: told, .. } if told == name));
    }
    assert!(sound.ask("a.example", 1).is_some(), "a control");
    std::thread::sleep(Duration::from_millis(200));
    assert!(resolver.asked().is_empty(), "{:?}", resolver.asked());
    for (mutant, name) in [(Mutant::SuffixMatch, "xa.example"), (Mutant::WildcardDeep, "x.y.a.example")] {
        let setting = Setting { mutant: Some(mutant), ..Setting::default() };
        assert!(Lab::with(POLICY, setting).ask(name, 1).is_some(), "{mutant:?}");
    }
    for (mutant, name) in
        [(Mutant::WildcardNeverMatches, "x.a.example"), (Mutant::CaseSensitive, "A.example")]
    {
        let setting = Setting { mutant: Some(mutant), ..Setting::default() };
        assert!(sound.ask(name, 1).is_some());
        assert_eq!(Lab::with(POLICY, setting).ask(name, 1), None, "{mutant:?}");
    }
    let mutant = Some(Mutant::DeniedNameResolved);
    let broken =
        Lab::with(POLICY, Setting { mutant, resolvers: vec![resolver.address], ..Setting::default() });
    assert_eq!(broken.ask("b.example", 1), None);
    let start = std::time::Instant::now();
    while !resolver.asked().contains(&"b.example".to_owned()) {
        assert!(start.elapsed() < PATIENCE, "the mutant asks");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn over_tcp() {
    let resolver = Resolver::new("93.184.13.53:53", &[]);
    let lab = lab(&resolver);
    let mut stream = lab.connect("198.18.0.1:53").expect("the resolver");
    // Two at once, the second in two pieces.
    let (one, two) = (question(1, "a.example", 1), question(2, "b.example", 1));
    let framed = |message: &[u8]| [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat();
    let both = [framed(&one), framed(&two)].concat();
    stream.write_all(&both[..both.len() - 5]).unwrap();
    let first = message(&mut stream);
    stream.write_all(&both[both.len() - 5..]).unwrap();
    let second = message(&mut stream);
    assert_eq!((first[1], second[1]), (1, 2));
    assert_eq!(address_in(&first, 1), lab.ask("a.example", 1));
    assert_eq!((address_in(&second, 1), second[3] & 15), (None, 3));
    // Over IPv6, too; and what is far too long ends the connection.
    let mut stream = lab.connect("[fd70:616c:6973:ade0::1]:53").expect("the resolver");
    stream.write_all(&[0xff, 0xff, 0, 0]).unwrap();
    assert!(stream.read_exact(&mut [0]).is_err());
}

fn message(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("a length");
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).expect("a message");
    message
}

fn rebinding() {
    let zone = [
        ("internal.a.example", Said::Addresses(&["10.14.0.1"], 60)),
        ("loopback.a.example", Said::Addresses(&["127.0.0.1", "::1"], 60)),
        ("metadata.a.example", Said::Addresses(&["169.254.169.254", "fd00:ec2::254"], 60)),
        ("nat64.a.example", Said::Addresses(&["64:ff9b::a0e:1"], 60)),
        ("synthetic.a.example", Said::Addresses(&["198.18.1.0"], 60)),
        ("alias.a.example", Said::Alias("internal.elsewhere", &["10.14.0.1"])),
        ("public.a.example", Said::Alias("public.elsewhere", &["93.184.14.1"])),
        ("mixed.a.example", Said::Addresses(&["10.14.0.1", "93.184.14.1", "64:ff9b::a0e:1"], 60)),
    ];
    let resolver = Resolver::new("93.184.14.53:53", &zone);
    let sound = lab(&resolver);
    let reached = [echo_server("10.14.0.1:443"), echo_server("[64:ff9b::a0e:1]:443")];
    echo_server("93.184.14.1:443");
    for name in ["internal", "loopback", "metadata", "nat64", "synthetic", "alias"] {
        let name = format!("{name}.a.example");
        let address = sound.ask(&name, 1).expect("the name is allowed");
        sound.assert_reset(&at(address, 443), |event| {
            matches!(event, Event::Denied { name: Some(told), reason, .. }
                if *told == name && matches!(reason, Reason::SpecialUse(_) | Reason::Metadata(_) | Reason::Own))
        });
    }
    for name in ["public.a.example", "mixed.a.example"] {
        let address = sound.ask(name, 1).expect("the name is allowed");
        sound.echoes(&at(address, 443)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(reached.iter().all(|count| count.load(Ordering::SeqCst) == 0));
    let mutant = Some(Mutant::RebindingAllowed);
    let broken =
        Lab::with(POLICY, Setting { mutant, resolvers: vec![resolver.address], ..Setting::default() });
    let address = broken.ask("internal.a.example", 1).unwrap();
    broken.echoes(&at(address, 443)).expect("the mutant reaches it");
}

fn rebinding_between_two_questions() {
    const TURNS: &[&str] = &["93.184.15.1", "10.15.0.1"];
    echo_server("93.184.15.1:443");
    let reached = echo_server("10.15.0.1:443");
    for (mutant, resolver) in [(None, "93.184.15.53:53"), (Some(Mutant::ResolvesTwice), "93.184.15.54:53")] {
        let resolver = Resolver::new(resolver, &[("a.example", Said::Turns(TURNS))]);
        let lab =
            Lab::with(POLICY, Setting { mutant, resolvers: vec![resolver.address], ..Setting::default() });
        let address = lab.ask("a.example", 1).unwrap();
        lab.echoes(&at(address, 443)).expect("the first answer is public");
        assert_eq!(reached.load(Ordering::SeqCst), usize::from(mutant.is_some()));
        if mutant.is_none() {
            lab.assert_reset(&at(address, 443), |event| matches!(event, Event::Denied { .. }));
            assert_eq!(resolver.asked().len(), 4, "both families, each time once");
        }
    }
}

fn unknown_ones_fail() {
    let resolver = Resolver::new("93.184.16.53:53", &[]);
    let lab = lab(&resolver);
    let address = lab.ask("nobody.a.example", 1).expect("the name is allowed");
    lab.assert_reset(&at(address, 443), |event| {
        matches!(event, Event::Failed { errno: nix::libc::ENOENT, .. })
    });
}

fn an_address_that_stands_for_none() {
    let resolver = Resolver::new("93.184.17.53:53", &[]);
    let lab = lab(&resolver);
    for to in ["198.18.77.77:443", "[fd70:616c:6973:ade0::7777]:443", "198.18.0.9:443"] {
        lab.assert_reset(to, |event| matches!(event, Event::Denied { reason: Reason::UnknownName, .. }));
    }
}

fn a_second_resolver() {
    let zone = [("a.example", Said::Addresses(&["93.184.18.1"], 60))];
    let resolver = Resolver::new("93.184.18.53:53", &zone);
    echo_server("93.184.18.1:443");
    // At the first nobody listens; or somebody who never answers.
    let _silent = UdpSocket::bind("93.184.18.51:53").unwrap();
    let took = ["93.184.18.52:53", "93.184.18.51:53"].map(|first| {
        let resolvers = vec![first.parse().unwrap(), resolver.address];
        let lab = Lab::with(POLICY, Setting { resolvers, ..Setting::default() });
        let address = lab.ask("a.example", 1).unwrap();
        let start = std::time::Instant::now();
        lab.echoes(&at(address, 443)).expect("the second resolver knows");
        start.elapsed()
    });
    assert!(took[0] * 2 < took[1], "who is not there is not waited for: {took:?}");
}

fn bounded() {
    let limits = Limits { names: 3, ..Limits::default() };
    let lab = Lab::with(POLICY, Setting { limits, ..Setting::default() });
    let given: Vec<_> = (0..3).map(|index| lab.ask(&format!("n{index}.a.example"), 1)).collect();
    assert!(given.iter().all(Option::is_some));
    assert_eq!(lab.ask("n3.a.example", 1), None);
    lab.wait_for(|event| *event == Event::LimitHit { which: Limit::Names });
    assert_eq!(lab.ask("n0.a.example", 1), given[0]);
    assert_eq!(lab.gateway.as_ref().unwrap().usage().names, 3);
}

/// A resolver whose answers do not fit into a datagram.
fn truncated_answers() {
    let udp = UdpSocket::bind("93.184.19.53:53").unwrap();
    let tcp = TcpListener::bind("93.184.19.53:53").unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = udp.recv_from(&mut buffer) {
            buffer[2] |= 0x82;
            let _ = udp.send_to(&buffer[..length], client);
        }
    });
    let zone = [("a.example", Said::Addresses(&["93.184.19.1"], 60))];
    let resolver = Resolver::new("93.184.19.54:53", &zone);
    // Over TCP it says what the other one says.
    let other = resolver.address;
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let query = message(&mut stream);
            let socket = UdpSocket::bind("93.184.19.53:0").unwrap();
            socket.send_to(&query, other).unwrap();
            let mut buffer = [0; 512];
            let length = socket.recv(&mut buffer).unwrap();
            let _ = stream.write_all(&u16::try_from(length).unwrap().to_be_bytes());
            let _ = stream.write_all(&buffer[..length]);
        }
    });
    echo_server("93.184.19.1:443");
    let resolvers = vec!["93.184.19.53:53".parse().unwrap()];
    let lab = Lab::with(POLICY, Setting { resolvers, ..Setting::default() });
    let address = lab.ask("a.example", 1).unwrap();
    lab.echoes(&at(address, 443)).expect("the answer over TCP");
}

/// Before the answer come others: with another id, about another name, from another port.
fn guessed_answers() {
    let reached = echo_server("93.184.20.66:443");
    echo_server("93.184.20.10:443");
    let socket = UdpSocket::bind("93.184.20.53:53").unwrap();
    let stranger = UdpSocket::bind("93.184.20.53:5353").unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let answer = |id: u16, label: u8, last: u8| {
                let end = 12 + "a.example".len() + 2;
                let is_v4 = buffer[end + 1] == 1;
                let mut answer = buffer[..length.min(end + 4)].to_vec();
                answer[..2].copy_from_slice(&id.to_be_bytes());
                answer[2..4].copy_from_slice(&[0x81, 0x80]);
                answer[6..12].copy_from_slice(&[0, u8::from(is_v4), 0, 0, 0, 0]);
                answer[13] = label;
                if is_v4 {
                    answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 93, 184, 20, last]);
                }
                answer
            };
            let id = u16::from_be_bytes([buffer[0], buffer[1]]);
            let _ = socket.send_to(&answer(id.wrapping_add(1), b'a', 66), client);
            let _ = socket.send_to(&answer(id, b'b', 66), client);
            let _ = socket.send_to(&[0xff; 20], client);
            let _ = stranger.send_to(&answer(id, b'a', 66), client);
            let _ = socket.send_to(&answer(id, b'a', 10), client);
        }
    });
    let resolvers = vec!["93.184.20.53:53".parse().unwrap()];
    let lab = Lab::with(POLICY, Setting { resolvers, ..Setting::default() });
    let address = lab.ask("a.example", 1).unwrap();
    lab.echoes(&at(address, 443)).expect("the true answer");
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}

/// The host's hosts file is asked first, and judged all the same.
fn of_the_host() {
    let hosts = vec![
        ("a.example".to_owned(), vec!["93.184.21.10".parse().unwrap()]),
        ("evil.a.example".to_owned(), vec!["127.0.0.1".parse().unwrap()]),
        ("b.example".to_owned(), vec!["93.184.21.10".parse().unwrap()]),
    ];
    echo_server("93.184.21.10:443");
    let lab = Lab::with(POLICY, Setting { hosts, ..Setting::default() });
    let address = lab.ask("a.example", 1).unwrap();
    lab.echoes(&at(address, 443)).expect("without a resolver");
    let address = lab.ask("evil.a.example", 1).unwrap();
    lab.assert_reset(&at(address, 443), |event| matches!(event, Event::Denied { reason: Reason::Own, .. }));
    assert_eq!(lab.ask("b.example", 1), None);
}

fn in_an_open_network() {
    let zone = [
        ("any.example", Said::Addresses(&["93.184.22.10"], 60)),
        ("internal.example", Said::Addresses(&["10.22.0.1"], 60)),
    ];
    let resolver = Resolver::new("93.184.22.53:53", &zone);
    let lab =
        Lab::with("{ mode: open }", Setting { resolvers: vec![resolver.address], ..Setting::default() });
    echo_server("93.184.22.10:443");
    let address = lab.ask("any.example", 28).unwrap();
    lab.echoes(&at(address, 443)).expect("every name is allowed");
    let address = lab.ask("internal.example", 1).unwrap();
    lab.assert_reset(&at(address, 443), |event| {
        matches!(event, Event::Denied { reason: Reason::SpecialUse(_), .. })
    });
    assert_eq!(lab.ask("metadata.google.internal", 1), None);
}

fn over_udp() {
    let zone = [("a.example", Said::Addresses(&["10.23.0.1", "93.184.23.10"], 60))];
    let resolver = Resolver::new("93.184.23.53:53", &zone);
    let policy = "{ mode: allowlist, allow: [{ host: a.example, ports: [443], protocol: udp }] }";
    let lab = Lab::with(policy, Setting { resolvers: vec![resolver.address], ..Setting::default() });
    let server = UdpSocket::bind("93.184.23.10:443").unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = server.recv_from(&mut buffer) {
            let _ = server.send_to(&buffer[..length], client);
        }
    });
    for kind in [1, 28] {
        let address = lab.ask("a.example", kind).unwrap();
        let answer = lab.inside(|| {
            let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.connect((address, 443)).unwrap();
            // What comes before the name is resolved is kept.
            for byte in 0..3 {
                socket.send(&[byte]).unwrap();
            }
            let mut answer = Vec::new();
            for _ in 0..3 {
                let mut byte = [0];
                socket.recv(&mut byte).unwrap();
                answer.push(byte[0]);
            }
            answer
        });
        assert_eq!(answer, [0, 1, 2]);
    }
}

/// There are resolvers that drop questions for IPv6 addresses.
fn a_resolver_without_ipv6() {
    let zone = [("a.example", Said::Addresses(&["93.184.25.10"], 60))];
    let resolver = Resolver::new("93.184.25.54:53", &zone);
    let socket = UdpSocket::bind("93.184.25.53:53").unwrap();
    let other = resolver.address;
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            if buffer[12 + "a.example".len() + 3] != 1 {
                continue;
            }
            let asking = UdpSocket::bind("93.184.25.53:0").unwrap();
            asking.send_to(&buffer[..length], other).unwrap();
            let length = asking.recv(&mut buffer).unwrap();
            let _ = socket.send_to(&buffer[..length], client);
        }
    });
    echo_server("93.184.25.10:443");
    let resolvers = vec!["93.184.25.53:53".parse().unwrap()];
    let lab = Lab::with(POLICY, Setting { resolvers, ..Setting::default() });
    let address = lab.ask("a.example", 1).unwrap();
    lab.echoes(&at(address, 443)).expect("by what it does answer");
}

/// Thousands of questions, most of them nonsense, and everything still works after them.
fn floods() {
    let zone = [("a.example", Said::Addresses(&["93.184.24.10"], 60))];
    let resolver = Resolver::new("93.184.24.53:53", &zone);
    let limits = Limits { names: 64, events: 50, ..Limits::default() };
    let lab = Lab::with(POLICY, Setting { limits, resolvers: vec![resolver.address], ..Setting::default() });
    echo_server("93.184.24.10:443");
    let address = lab.ask("a.example", 1).unwrap();
    lab.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect("198.18.0.1:53").unwrap();
        for index in 0..20_000u32 {
            let message = match index % 4 {
                0 => question(1, &format!("n{index}.a.example"), 1),
                1 => question(1, &format!("n{index}.elsewhere"), 1),
                2 => vec![u8::try_from(index % 251).unwrap(); 600],
                _ => question(1, "a.example", 1)[..20].to_vec(),
            };
            let _ = socket.send(&message);
        }
    });
    assert_eq!(lab.ask("a.example", 1), Some(address), "who was asked first keeps its address");
    lab.echoes(&at(address, 443)).expect("it works as before");
    let usage = lab.gateway.as_ref().unwrap().usage();
    assert!(usage.names <= 64 && resolver.asked().iter().all(|name| name == "a.example"), "{usage:?}");
    lab.wait_for(|event| *event == Event::LimitHit { which: Limit::Names });
    // The next event after the flood tells how many were left out.
    let start = std::time::Instant::now();
    while !lab.events().iter().any(|event| matches!(event, Event::Suppressed { count: 1.. })) {
        assert!(start.elapsed() < PATIENCE, "events are bounded, too");
        assert_eq!(lab.ask("last.elsewhere", 1), None);
        std::thread::sleep(Duration::from_millis(50));
    }
}
