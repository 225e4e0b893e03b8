//! What a fuzzer calls: the readers of bytes that a workload, or somebody who answers for a resolver, made up. Each panics where
//! something that must hold of every outcome does not. Here only with `--cfg fuzzing`, as `scripts/fuzz` builds.

use std::time::{Duration, Instant};

use palisade_policy::{AllowRule, Clause, Network, NetworkMode, Peer, Ports, Protocol};

use crate::decide::Judge;
use crate::dns::{client, message, stub};
use crate::names::Names;
use crate::request::{self, Socks};
use crate::target::Host;

thread_local! {
    static JUDGE: Judge = {
        let rule = |pattern: &str| AllowRule {
            clause: Clause::new("network.allow[0]"),
            peer: Peer::Host(pattern.to_owned()),
            ports: Ports::Any,
            protocol: Protocol::Tcp,
        };
        let allow = vec![rule("a.example"), rule("*.c.example"), rule("**.b.example")];
        Judge::new(Network { mode: NetworkMode::Allowlist, allow, ..Network::default() }, Vec::new(), None)
    };
}

/// A query to the stub resolver.
pub fn query(bytes: &[u8]) {
    let mut names = Names::new(8, Duration::from_secs(60));
    let answer = JUDGE.with(|judge| stub::answer(bytes, judge, &mut names, Instant::now()));
    let Some((answer, _)) = answer else { return };
    assert!(answer.len() <= 512 && answer[..2] == bytes[..2] && names.len() <= 1);
    let (header, mut reader) = message::Reader::new(&answer).expect("a header");
    assert!(header.is_response() && header.questions <= 1);
    // Both families where any type is asked for.
    assert!(header.answers <= 2);
    for _ in 0..header.questions {
        reader.question().expect("the question");
    }
    for _ in 0..header.answers + header.authorities + header.additional {
        reader.record().expect("a record");
    }
    assert!(reader.record().is_none(), "nothing after the end");
}

/// A message of a resolver outside, as an answer to a question of each family.
pub fn reply(bytes: &[u8]) {
    for kind in [message::A, message::AAAA] {
        client::read_anything(bytes, kind);
    }
}

/// What a client says to the HTTP proxy.
pub fn http(bytes: &[u8]) {
    let Ok(Some(request)) = request::http(bytes) else { return };
    assert!(request.length <= bytes.len() && request.port != 0);
    is_normal(&request.host);
    let Some(head) = request.head else { return };
    // Whoever is upstream must read one request of it, for the host that was judged.
    let text: Vec<&[u8]> = head.split(|&byte| byte == b'\n').collect();
    let (last, lines) = text.split_last().expect("split");
    assert!(last.is_empty() && lines.iter().all(|line| line.ends_with(b"\r")), "CR and LF together");
    assert_eq!(head.windows(4).position(|four| four == b"\r\n\r\n"), Some(head.len() - 4), "one end");
    let starts = |line: &&&[u8], name: &[u8]| {
        line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    assert_eq!(lines.iter().filter(|line| starts(line, b"host:")).count(), 1);
    let host = lines.iter().find(|line| starts(line, b"host:")).expect("one");
    let host = host["host:".len()..].trim_ascii();
    assert_eq!(Host::parse_with_port(host, Some(80)), Some((request.host, request.port)));
}

/// What a client says to the SOCKS proxy.
pub fn socks(bytes: &[u8]) {
    if let Socks::Greeting(length, _) = request::socks_greeting(bytes) {
        assert!(length <= bytes.len());
    }
    if let Socks::Connect(length, host, port) = request::socks_request(bytes) {
        assert!(length <= bytes.len() && port != 0);
        is_normal(&host);
    }
}

/// A host as text, with and without a port.
pub fn target(bytes: &[u8]) {
    if let Some(host) = Host::parse(bytes) {
        is_normal(&host);
    }
    if let Some((host, port)) = Host::parse_with_port(bytes, None) {
        assert!(port != 0);
        is_normal(&host);
    }
}

/// What was read is read as the same again: there is no second meaning to come to.
fn is_normal(host: &Host) {
    let text = match host {
        Host::Name(name) => name.clone(),
        Host::Address(address) => address.to_string(),
    };
    assert_eq!(Host::parse(text.as_bytes()).as_ref(), Some(host), "{text}");
}
