//! Random allowlists and random destinations through a gateway: what arrives is what the policy says, read by a model.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use palisade_gateway::Event;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::Case;
use crate::lab::Lab;

pub(crate) const ALL: &[Case] = &[("random::allowlists", allowlists)];

/// Ports that no other test uses: whole ranges are listened on here.
const PORTS: [u16; 2] = [8081, 8082];

#[derive(Clone, Debug)]
struct Rule {
    net: u32,
    prefix: u8,
    port: u16,
}

impl Rule {
    fn mask(&self) -> u32 {
        u32::MAX << (32 - self.prefix)
    }

    fn allows(&self, to: u32, port: u16) -> bool {
        to & self.mask() == self.net && port == self.port
    }
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    // Inside 93.184.0.0/16 of the lab's world.
    let rule = (any::<u16>(), 20u8..=32, prop::sample::select(&PORTS[..])).prop_map(|(low, prefix, port)| {
        let mut rule = Rule { net: 0, prefix, port };
        rule.net = (93 << 24 | 184 << 16 | u32::from(low)) & rule.mask();
        rule
    });
    prop::collection::vec(rule, 1..5)
}

/// The first and last of each rule, and what is just beside them.
fn destinations(rules: &[Rule]) -> BTreeSet<(u32, u16)> {
    let mut all = BTreeSet::new();
    for rule in rules {
        let (first, last) = (rule.net, rule.net | !rule.mask());
        for to in [first, last, first.wrapping_sub(1), last.wrapping_add(1), first ^ 0x100] {
            if to >> 16 == 93 << 8 | 184 {
                all.extend(PORTS.map(|port| (to, port)));
            }
        }
    }
    all
}

fn allowlists() {
    let arrived: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
    for port in PORTS {
        let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
        let arrived = Arc::clone(&arrived);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                arrived.lock().unwrap().push(stream.local_addr().unwrap());
                let mut buffer = [0; 8];
                if stream.read_exact(&mut buffer).is_ok() {
                    let _ = stream.write_all(&buffer);
                }
            }
        });
    }
    let cases = std::env::var("PALISADE_TEST_LABS").map_or(8, |cases| cases.parse().expect("a number"));
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..cases {
        let rules = rules().new_tree(&mut runner).unwrap().current();
        let mut written = BTreeSet::new();
        let texts = rules.iter().map(|rule| {
            format!("{{ cidr: {}/{}, ports: [{}] }}", Ipv4Addr::from_bits(rule.net), rule.prefix, rule.port)
        });
        let text = texts.filter(|text| written.insert(text.clone())).collect::<Vec<_>>().join(", ");
        let lab = Lab::new(&format!("{{ mode: allowlist, allow: [{text}] }}"));
        for (to, port) in destinations(&rules) {
            arrived.lock().unwrap().clear();
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(to)), port);
            let allowed = rules.iter().any(|rule| rule.allows(to, port));
            let works = lab.echoes(&address.to_string()).is_ok();
            assert_eq!(works, allowed, "{address} by [{text}]");
            let expected: Vec<SocketAddr> = allowed.then_some(address).into_iter().collect();
            assert_eq!(*arrived.lock().unwrap(), expected, "{address} by [{text}]");
            if !allowed {
                lab.wait_for(
                    |event| matches!(event, Event::Denied { address: told, .. } if *told == address),
                );
            }
        }
    }
}
