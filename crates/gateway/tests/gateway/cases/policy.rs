//! What is allowed works; what is denied is reset at once, and nothing of it arrives.

use std::sync::atomic::Ordering;

use palisade_gateway::{Event, Mutant, Reason};
use palisade_policy::{Clause, Protocol};

use crate::Case;
use crate::lab::{Lab, Setting, echo_server};

pub(crate) const ALL: &[Case] = &[
    ("policy::ranges", ranges),
    ("policy::denied_is_reset", denied_is_reset),
    ("policy::special_use_needs_its_range", special_use_needs_its_range),
    ("policy::metadata", metadata),
    ("policy::own_addresses", own_addresses),
    ("policy::loopback", loopback),
    ("policy::mutants_are_noticed", mutants_are_noticed),
];

fn denied(reason: impl Fn(&Reason) -> bool) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Denied { reason: why, .. } if reason(why))
}

fn ranges() {
    let lab = Lab::new(
        "{ mode: allowlist, allow: [{ cidr: 93.184.1.0/24, ports: [443] }, { cidr: \"2600:9999:1::/48\", ports: [80] }] }",
    );
    echo_server("93.184.1.1:443");
    echo_server("[2600:9999:1::1]:80");
    lab.echoes("93.184.1.1:443").expect("IPv4");
    lab.echoes("[::ffff:93.184.1.1]:443").expect("IPv4 by a mapped address");
    lab.echoes("[2600:9999:1::1]:80").expect("IPv6");
    let upstream = "93.184.1.1:443".parse().unwrap();
    let event = lab.wait_for(|event| matches!(event, Event::Connected { .. }));
    assert_eq!(
        event,
        Event::Connected {
            protocol: Protocol::Tcp,
            address: upstream,
            name: None,
            upstream,
            rule: Clause::new("network.allow[0]"),
        }
    );
    assert_eq!(lab.gateway.as_ref().unwrap().usage().allowed, 3);
}

fn denied_is_reset() {
    let lab = Lab::new(
        "{ mode: allowlist, allow: [{ cidr: 93.184.2.0/25, ports: [443] }, { cidr: 93.184.2.200/32, ports: [443], protocol: udp }] }",
    );
    let reached =
        [echo_server("93.184.2.128:443"), echo_server("93.184.2.1:80"), echo_server("93.184.2.200:443")];
    echo_server("93.184.2.127:443");
    lab.echoes("93.184.2.127:443").expect("the last of the range");
    for to in ["93.184.2.128:443", "93.184.2.1:80", "93.184.2.200:443"] {
        let address = to.parse().unwrap();
        lab.assert_reset(to, |event| {
            *event
                == Event::Denied {
                    protocol: Protocol::Tcp,
                    address,
                    name: None,
                    port: address.port(),
                    reason: Reason::NoRule,
                    clause: Clause::new("network.allow"),
                }
        });
    }
    assert!(reached.iter().all(|count| count.load(Ordering::SeqCst) == 0));
}

fn special_use_needs_its_range() {
    let lab = Lab::new("{ mode: open, allow: [{ cidr: 10.3.0.0/16, ports: [443] }] }");
    echo_server("93.184.3.1:443");
    echo_server("10.3.0.1:443");
    let reached =
        [echo_server("10.4.3.1:443"), echo_server("100.64.3.1:443"), echo_server("[64:ff9b::a03:1]:443")];
    lab.echoes("93.184.3.1:443").expect("what is public is open");
    lab.echoes("10.3.0.1:443").expect("a range that a rule names");
    for to in ["10.4.3.1:443", "100.64.3.1:443", "[64:ff9b::a03:1]:443"] {
        lab.assert_reset(to, denied(|reason| matches!(reason, Reason::SpecialUse(_))));
    }
    assert!(reached.iter().all(|count| count.load(Ordering::SeqCst) == 0));
}

fn metadata() {
    let closed = Lab::new("{ mode: allowlist, allow: [{ cidr: 169.254.0.0/16, ports: [80] }] }");
    let open = Lab::new(
        "{ mode: allowlist, metadata: allow, allow: [{ cidr: 169.254.0.0/16, ports: [80] }, { cidr: \"fd00:ec2::/32\", ports: [80] }] }",
    );
    let reached = echo_server("169.254.169.254:80");
    echo_server("[fd00:ec2::254]:80");
    echo_server("169.254.4.1:80");
    closed.echoes("169.254.4.1:80").expect("link local is allowed");
    for to in ["169.254.169.254:80", "[fd00:ec2::254]:80", "[64:ff9b::a9fe:a9fe]:80"] {
        closed.assert_reset(to, denied(|reason| matches!(reason, Reason::Metadata(_))));
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0);
    open.echoes("169.254.169.254:80").expect("metadata is allowed");
    open.echoes("[fd00:ec2::254]:80").expect("metadata is allowed");
}

fn own_addresses() {
    let own = vec!["93.184.5.1".parse().unwrap(), "93.184.5.2".parse().unwrap()];
    let lab = Lab::with(
        "{ mode: allowlist, allow: [{ cidr: 93.184.5.0/24, ports: [443] }, { cidr: 93.184.5.2/32, ports: [443] }] }",
        Setting { own, ..Setting::default() },
    );
    for address in ["93.184.5.1:443", "93.184.5.2:443", "93.184.5.3:443"] {
        echo_server(address);
    }
    lab.assert_reset("93.184.5.1:443", denied(|reason| *reason == Reason::Own));
    lab.echoes("93.184.5.2:443").expect("a rule for exactly this address");
    lab.echoes("93.184.5.3:443").expect("not its own");
}

fn loopback() {
    let lab = Lab::new("{ mode: open, special_use: allow, allow: [] }");
    // The host's: it listens on the same port as the sandbox's side does.
    let reached = echo_server("127.0.0.1:443");
    lab.assert_reset("127.0.0.1:443", denied(|reason| *reason == Reason::Own));
    lab.assert_reset("[::1]:443", denied(|reason| *reason == Reason::Own));
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}

/// Each bug lets something arrive that must not.
fn mutants_are_noticed() {
    let policy = "{ mode: allowlist, allow: [{ cidr: 93.184.6.0/24, ports: [443] }, { cidr: 0.0.0.0/0, ports: [80] }] }";
    for address in ["93.184.60.1:443", "100.64.6.1:80", "93.184.6.2:80", "169.254.170.23:80", "93.184.6.3:53"]
    {
        echo_server(address);
    }
    let cases = [
        (Mutant::PrefixConfusion, "93.184.60.1:443"),
        (Mutant::CgnatMissing, "100.64.6.1:80"),
        (Mutant::MetadataByBroadRule, "169.254.170.23:80"),
        (Mutant::PortsIgnored, "93.184.6.3:53"),
    ];
    let sound = Lab::new(policy);
    sound.echoes("93.184.6.2:80").expect("a control");
    for (mutant, to) in cases {
        sound.assert_reset(to, denied(|_| true));
        let broken = Lab::with(policy, Setting { mutant: Some(mutant), ..Setting::default() });
        broken.echoes(to).unwrap_or_else(|error| panic!("{mutant:?} changes nothing: {error}"));
    }
}
