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
use crate::lab::{Lab, Resolver, Said, Setting, echo_server};

pub(crate) const ALL: &[Case] = &[("random::allowlists", allowlists), ("random::names", names)];

/// Ports that no other test uses: everything is listened on here.
const PORTS: [u16; 2] = [8081, 8082];

/// How many sandboxes with a policy of their own are tried.
fn labs() -> usize {
    std::env::var("PALISADE_TEST_LABS").map_or(8, |labs| labs.parse().expect("a number"))
}

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
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..labs() {
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

/// Every name of up to three labels out of two.
fn universe() -> Vec<String> {
    let longer = |names: &[String]| -> Vec<String> {
        names.iter().flat_map(|name| [format!("a.{name}"), format!("b.{name}")]).collect()
    };
    let one = longer(&["example".to_owned()]);
    let two = longer(&one);
    let three = longer(&two);
    [one, two, three].concat()
}

/// Whether a pattern means a name: label by label, from the end.
fn means(pattern: &str, name: &str) -> bool {
    let mut labels: Vec<&str> = name.split('.').collect();
    let mut wanted: Vec<&str> = pattern.split('.').collect();
    while let Some(last) = wanted.pop() {
        match last {
            "**" => return !labels.is_empty(),
            "*" => return labels.len() == 1,
            _ => {
                if labels.pop() != Some(last) {
                    return false;
                }
            }
        }
    }
    labels.is_empty()
}

fn names() {
    let zone: Vec<(&'static str, Said)> = universe()
        .into_iter()
        .map(|name| (&*name.leak(), Said::Addresses(&["2600:9999:50::1"], 0)))
        .collect();
    let resolver = Resolver::new("93.184.50.53:53", &zone);
    for port in PORTS {
        echo_server(&format!("[2600:9999:50::1]:{port}"));
    }
    let rule = ("(\\*\\.|\\*\\*\\.)?[ab](\\.[ab])?\\.example", prop::sample::select(&PORTS[..]));
    let rules = prop::collection::btree_set(rule, 1..4);
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..labs() {
        let rules = rules.new_tree(&mut runner).unwrap().current();
        let text: Vec<String> = rules
            .iter()
            .map(|(pattern, port)| format!("{{ host: \"{pattern}\", ports: [{port}] }}"))
            .collect();
        let policy = format!("{{ mode: allowlist, allow: [{}] }}", text.join(", "));
        let lab = Lab::with(&policy, Setting { resolvers: vec![resolver.address], ..Setting::default() });
        for (index, name) in universe().into_iter().enumerate() {
            let written = if index % 2 == 0 { name.clone() } else { name.to_uppercase() };
            let kind = if index % 3 == 0 { 1 } else { 28 };
            let Some(address) = lab.ask(&written, kind) else {
                assert!(!rules.iter().any(|(pattern, _)| means(pattern, &name)), "{name} by {policy}");
                continue;
            };
            for port in PORTS {
                let allowed = rules.iter().any(|(pattern, to)| *to == port && means(pattern, &name));
                let works = lab.echoes(&SocketAddr::new(address, port).to_string()).is_ok();
                assert_eq!(works, allowed, "{name}:{port} by {policy}");
            }
            assert!(rules.iter().any(|(pattern, _)| means(pattern, &name)), "{name} by {policy}");
        }
    }
}
