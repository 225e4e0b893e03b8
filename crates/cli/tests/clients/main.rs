//! Real clients under an allowlist, in a private network in which every address answers: they reach what the policy
//! allows, over both families, and are refused elsewhere at once; what is refused arrives nowhere.
//!
//! Nothing can leave that network: it has no link.

mod lab;
mod packages;
mod programs;
mod published;
#[path = "../support/mod.rs"]
mod support;
mod traffic;
mod upstreams;

use std::fmt::Write as _;

use lab::{ATTEMPT, Lab, VISIT};
use serde_json::Value;
use support::{status, stderr};

/// The lines of an expectation, without the indentation.
fn lines(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).fold(String::new(), |mut all, line| {
        let _ = writeln!(all, "{line}");
        all
    })
}

#[test]
fn the_lab_refuses_every_network_that_is_not_private() {
    let lab = Lab::new();
    assert_eq!(status(&lab.within("", &["true"])), 0);
    for broken in [
        "outside=$(readlink /proc/self/ns/net)",
        "ip link set lo up; ip route add default dev lo",
        "ip link set lo up; ip -6 route add default dev lo",
        "ip link add uplink type veth || ip link add uplink type bridge || ip link add uplink type dummy",
    ] {
        let ran = lab.within(broken, &["true"]);
        assert_eq!(status(&ran), 97, "{broken}: {}", stderr(&ran));
    }
}

/// What the other tests would see of a gateway that errs.
#[test]
fn the_lab_notices_what_gets_out() {
    let lab = Lab::new();
    let plan = lab.palisade(&["plan", "--policy", "policy.yaml", "--format", "json"]);
    let ran = |mutant: Option<&str>| {
        let mut plan: Value = serde_json::from_str(&plan).expect("JSON");
        let steps = plan["steps"].as_array_mut().expect("a list");
        let serve =
            steps.iter_mut().find_map(|step| step["step"].get_mut("serve_egress")).expect("a gateway");
        serve["mutant"] = mutant.into();
        lab.write("plan.json", &plan.to_string());
        let script =
            format!("{VISIT}visit http://denied.example.org/where; resets http://203.0.113.9:8080/where");
        let ran = lab.run_by(["--plan", "plan.json"], &["sh", "-c", &script]);
        (
            ran.said.lines().map(|line| line.rsplit_once("where").expect("an answer").1.to_owned()).collect(),
            ran.reached,
        )
    };
    let seen = |said: [&str; 2], reached: &[&str]| -> (Vec<String>, Vec<String>) {
        (said.map(str::to_owned).into(), reached.iter().map(|line| (*line).to_owned()).collect())
    };
    assert_eq!(ran(None), seen([" 6 ", " reset"], &[]));
    assert_eq!(ran(Some("denied-name-resolved")), seen([" 6 ", " reset"], &["dns denied.example.org"]));
    assert_eq!(
        ran(Some("ports-ignored")),
        seen([" 6 ", " 0 203.0.113.9"], &["http 203.0.113.9 203.0.113.9:8080 /where"])
    );
}

#[test]
fn curl_reaches_what_is_allowed_and_is_refused_elsewhere() {
    let ran = Lab::new().shell(
        "visit -4 http://allowed.example.org/where
        visit -6 http://allowed.example.org:8080/where
        visit -6 http://four.example.org/where
        visit -4 http://six.example.org/where
        visit http://ALLOWED.example.org/where
        visit http://203.0.113.9/where
        visit http://[2001:db8::9]/where
        visit http://denied.example.org/where
        visit http://example.org/where
        visit http://below.allowed.example.org/where
        visit http://198.51.100.9/where
        visit http://[2001:db9::9]/where
        visit http://203.0.114.0/where
        visit http://203.0.113.9:81/where
        visit http://[2001:db8::9]:81/where
        resets http://203.0.113.9:8080/where
        visit http://allowed.example.org:81/where
        resets http://four.example.org:8080/where
        visit http://1.2.3.4/where
        visit http://169.254.169.254/where",
    );
    // The family inside says nothing about the family outside: a name is resolved there. 6: no such name. 7: no connection.
    let expected = lines(
        "-4 http://allowed.example.org/where 0 2606:4700::1
        -6 http://allowed.example.org:8080/where 0 2606:4700::1
        -6 http://four.example.org/where 0 1.2.3.4
        -4 http://six.example.org/where 0 2606:4700::1
        http://ALLOWED.example.org/where 0 2606:4700::1
        http://203.0.113.9/where 0 203.0.113.9
        http://[2001:db8::9]/where 0 2001:db8::9
        http://denied.example.org/where 6 .
        http://example.org/where 6 .
        http://below.allowed.example.org/where 6 .
        http://198.51.100.9/where 7 .
        http://[2001:db9::9]/where 7 .
        http://203.0.114.0/where 7 .
        http://203.0.113.9:81/where 7 .
        http://[2001:db8::9]:81/where 7 .
        http://203.0.113.9:8080/where reset
        http://allowed.example.org:81/where 7 .
        http://four.example.org:8080/where reset
        http://1.2.3.4/where 7 .
        http://169.254.169.254/where 7 .",
    );
    assert_eq!(ran.said, expected.replace(" .\n", " \n"));
    assert_eq!(
        ran.reached,
        [
            "dns allowed.example.org",
            "dns four.example.org",
            "dns six.example.org",
            "http 1.2.3.4 four.example.org /where",
            "http 2001:db8::9 [2001:db8::9] /where",
            "http 203.0.113.9 203.0.113.9 /where",
            "http 2606:4700::1 ALLOWED.example.org /where",
            "http 2606:4700::1 allowed.example.org /where",
            "http 2606:4700::1 allowed.example.org:8080 /where",
            "http 2606:4700::1 six.example.org /where",
        ]
    );
}

/// Port 82 is allowed, but nobody is there outside.
#[test]
fn each_way_of_being_refused_has_its_error() {
    let ran = Lab::new().python(&format!(
        "{ATTEMPT}
udp = socket.SOCK_DGRAM
attempt('203.0.113.9', 80)
attempt('2001:db8::9', 80)
attempt('168.0.0.1', 80)
attempt('198.51.100.9', 80)
attempt('2001:db9::9', 80)
attempt('169.254.169.254', 80)
attempt('203.0.113.9', 81)
attempt('203.0.113.9', 8080)
attempt('203.0.113.9', 82)
attempt('198.18.77.77', 80)
attempt('203.0.113.5', 5353, udp, b'echo')
attempt('203.0.113.5', 5354, udp, b'echo')
attempt('198.18.77.77', 5353, udp, b'echo')
attempt('198.51.100.9', 5353, udp, b'echo')
attempt('169.254.169.254', 5353, udp, b'echo')
for kind in socket.SOCK_DGRAM, socket.SOCK_RAW:
    try:
        socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
    except OSError as error:
        print('icmp', errno.errorcode[error.errno])
"
    ));
    let expected = lines(
        "203.0.113.9 80 ok
        2001:db8::9 80 ok
        168.0.0.1 80 ok
        198.51.100.9 80 ENETUNREACH
        2001:db9::9 80 ENETUNREACH
        169.254.169.254 80 EACCES
        203.0.113.9 81 ECONNREFUSED
        203.0.113.9 8080 ECONNRESET
        203.0.113.9 82 ECONNRESET
        198.18.77.77 80 ECONNRESET
        203.0.113.5 5353 ok
        203.0.113.5 5354 ECONNREFUSED
        198.18.77.77 5353 ECONNREFUSED
        198.51.100.9 5353 ENETUNREACH
        169.254.169.254 5353 EACCES
        icmp EACCES
        icmp EPERM",
    );
    assert_eq!(ran.said, expected);
    assert_eq!(
        ran.reached,
        [
            "http 168.0.0.1 None /where",
            "http 2001:db8::9 None /where",
            "http 203.0.113.9 None /where",
            "udp echo"
        ]
    );
}

/// What listens for a rule's port has it on every address inside, the sandbox's own loopback too.
#[test]
fn the_ports_of_rules_are_taken_inside() {
    let ran = Lab::new().python(&format!(
        "{ATTEMPT}
for address in '127.0.0.1', '::1':
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    for kind, port in (socket.SOCK_STREAM, 8080), (socket.SOCK_STREAM, 8081), (socket.SOCK_DGRAM, 5353), (socket.SOCK_DGRAM, 5354):
        server = socket.socket(family, kind)
        try:
            server.bind((address, port))
            print(address, port, 'bound')
        except OSError as error:
            print(address, port, errno.errorcode[error.errno])
attempt('127.0.0.1', 8080)
"
    ));
    let expected = lines(
        "127.0.0.1 8080 EADDRINUSE
        127.0.0.1 8081 bound
        127.0.0.1 5353 EADDRINUSE
        127.0.0.1 5354 bound
        ::1 8080 EADDRINUSE
        ::1 8081 bound
        ::1 5353 EADDRINUSE
        ::1 5354 bound
        127.0.0.1 8080 ECONNRESET",
    );
    assert_eq!(ran.said, expected);
    assert!(ran.reached.is_empty(), "{:?}", ran.reached);
}
