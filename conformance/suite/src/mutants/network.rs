//! Defects that networks of sandboxes have had, as mutants of a plan: each with the system in which it was found.
//!
//! A plan and its gateway read the same tables of addresses, so a table that lacks something lacks it in the routes and in the
//! gateway: such a mutant takes it from both. What a plan cannot show (there is no rule with a wildcard) is listed too, with
//! that reason, so that the matrix of every policy has the same rows.

use ipnet::IpNet;
use serde_json::Value;

use super::derive::{About, Mutant};
use super::links;
use super::widen::{self, Plan};

/// One defect.
struct Defect {
    /// Its name, and that of the gateway's mutant where it has a part in it.
    name: &'static str,
    /// Where it was.
    origin: &'static str,
    /// Patterns over the probes that must notice it.
    killers: &'static [&'static str],
    /// What of the plan it needs to make a difference.
    needs: &'static [Need],
    /// What it does to the plan.
    does: &'static [Does],
}

/// What a defect needs of a plan, and what is said where the plan has it not.
#[derive(Clone, Copy)]
struct Need(fn(&Plan) -> bool, &'static str);

/// One change.
#[derive(Clone, Copy)]
enum Does {
    /// The gateway has the defect of this name.
    Gateway,
    /// The routes that refuse what the test picks are left out.
    Unprohibit(fn(&Plan, &IpNet) -> bool),
    /// Anything else.
    Plan(fn(&mut Plan)),
}

use Does::{Gateway, Plan as To, Unprohibit};

const ALLOWLIST: Need = Need(|plan| plan.mode() == "allowlist", "an open network lists nothing");
const NAMES: Need = Need(|plan| plan.has_pattern(|_| true), "no rule names a host");
const EXACT: Need = Need(
    |plan| plan.has_pattern(|pattern| !pattern.starts_with('*')),
    "no rule names a host without a wildcard",
);
const WILDCARD: Need =
    Need(|plan| plan.has_pattern(|pattern| pattern.starts_with('*')), "no rule has a wildcard");
const ONE_LABEL: Need =
    Need(|plan| plan.has_pattern(|pattern| pattern.starts_with("*.")), "no rule has a wildcard of one label");
/// A name that is allowed, and leads wherever its owner says.
const ASTRAY: Need = Need(
    |plan| plan.mode() == "open" || plan.has_pattern(|pattern| pattern.starts_with('*')),
    "no name that is allowed leads where it must not lead",
);
const PROXY: Need = Need(Plan::has_proxy, "the policy asks for no proxy");
const IPV6: Need = Need(Plan::has_ipv6, "the sandbox has no IPv6");
const BASE: Need = Need(Plan::has_resolv_conf, "the sandbox has no files of its own in /etc");
const HOST_ON_443: Need = Need(Plan::has_host_on_443, "no rule names a host on port 443");
const INSIDE_AN_OCTET: Need =
    Need(|plan| plan.ranges().any(|net| net.prefix_len() % 8 != 0), "no range ends inside an octet");
const BROAD: Need = Need(Plan::has_metadata_in_a_range, "no rule's range has a metadata service in it");
const OTHER_PROTOCOL: Need =
    Need(Plan::hears_the_other_protocol, "nobody listens at a rule's port over the other protocol");
const OTHER_PORTS: Need = Need(Plan::hears_other_ports, "nobody listens at a port that a rule does not list");

/// Of a plan with a gateway.
const DEFECTS: &[Defect] = &[
    Defect {
        name: "any-address-on-443",
        origin: "a rule for one host on 443 became a rule for every address there (Sandcastle)",
        killers: &["net/port/https"],
        needs: &[ALLOWLIST, HOST_ON_443],
        does: &[Gateway, To(|plan| plan.route_everything())],
    },
    Defect {
        name: "any-resolver-on-53",
        origin: "all of port 53 was open, for names to resolve",
        killers: &["dns/other-resolver-udp"],
        needs: &[ALLOWLIST],
        does: &[To(widen::resolvers)],
    },
    Defect {
        name: "allowlist-ignored",
        origin: "with an allowlist everything was open",
        killers: &["net/port/https"],
        needs: &[ALLOWLIST],
        does: &[To(|plan| {
            plan.route_everything();
            plan.set_network("mode", "open".into());
        })],
    },
    Defect {
        name: "ipv6-forgotten",
        origin: "rules for IPv4 alone, with IPv6 on (CVE-2024-32473)",
        killers: &["net/tcp/v6"],
        needs: &[ALLOWLIST, IPV6],
        does: &[To(widen::ipv6)],
    },
    Defect {
        name: "host-network-kept",
        origin: "an allowlist that could not be had left the network of the host (a degraded run said nothing)",
        killers: &["net/tcp/v4"],
        needs: &[],
        does: &[To(widen::host_network)],
    },
    Defect {
        name: "routes-missing",
        origin: "an allowlist whose namespace had no route to what it allows",
        killers: &["net/rule/*/first", "net/rule/*/name-label"],
        needs: &[],
        does: &[To(widen::no_routes)],
    },
    Defect {
        name: "special-use-open",
        origin: "addresses of internal networks reached through an open egress",
        killers: &["net/*/name-to-private"],
        needs: &[ASTRAY],
        does: &[
            Unprohibit(|plan, net| plan.serves("network.special_use", net)),
            To(|plan| plan.set_network("special_use", "allow".into())),
        ],
    },
    Defect {
        name: "metadata-open",
        origin: "metadata services reached through an egress that blocks nothing",
        killers: &["net/*/name-to-metadata"],
        needs: &[ASTRAY],
        does: &[
            Unprohibit(|_, _| true),
            To(|plan| plan.set_network("special_use", "allow".into())),
            To(|plan| plan.set_network("metadata", "allow".into())),
        ],
    },
    Defect {
        name: "metadata-list-short",
        origin: "a list of link-local metadata addresses alone: Alibaba's and Azure's were not in it",
        killers: &["net/*/name-to-wireserver"],
        needs: &[ASTRAY],
        does: &[Gateway, Unprohibit(|plan, net| plan.serves("network.metadata", net))],
    },
    Defect {
        name: "metadata-by-broad-rule",
        origin: "a broad range opened the metadata service inside it",
        killers: &["l7/target/rule-*"],
        needs: &[BROAD, PROXY],
        does: &[Gateway, Unprohibit(|plan, net| plan.serves("network.metadata", net))],
    },
    Defect {
        name: "cgnat-missing",
        origin: "100.64.0.0/10 was taken for public",
        killers: &["net/*/name-to-cgnat"],
        needs: &[ASTRAY],
        does: &[Gateway, Unprohibit(|_, net| widen::is_cgnat(net))],
    },
    Defect {
        name: "embedded-ignored",
        origin: "NAT64 and 6to4 forms of a blocked address (GHSA-fwh7-rv72-xh5q)",
        killers: &["net/*/name-to-nat64-v6"],
        needs: &[ASTRAY],
        does: &[Gateway, Unprohibit(|_, net| widen::is_translated(net))],
    },
    Defect {
        name: "rebinding-allowed",
        origin: "an allowed name led to an address inside",
        killers: &["net/*/name-to-private"],
        needs: &[ASTRAY],
        does: &[Gateway],
    },
    Defect {
        name: "resolves-twice",
        origin: "the address that was checked was not the one that was dialled",
        killers: &["net/*/name-rebinding"],
        needs: &[ASTRAY],
        does: &[Gateway],
    },
    Defect {
        name: "host-reached",
        origin: "the host's loopback behind an address of the user-mode stack (slirp4netns#11)",
        killers: &["net/*/name-to-loopback"],
        needs: &[ASTRAY],
        does: &[Gateway],
    },
    Defect {
        name: "denied-name-resolved",
        origin: "a denied name was resolved before it was refused (CVE-2024-29018)",
        killers: &["dns/unlisted-name"],
        needs: &[ALLOWLIST, NAMES],
        does: &[Gateway],
    },
    Defect {
        name: "suffix-match",
        origin: "a name was compared by its end",
        killers: &["net/rule/*/name-suffix-confusion"],
        needs: &[EXACT],
        does: &[Gateway],
    },
    Defect {
        name: "wildcard-never-matches",
        origin: "a wildcard was accepted and matched nothing",
        killers: &["net/rule/*/name-label"],
        needs: &[WILDCARD],
        does: &[Gateway],
    },
    Defect {
        name: "wildcard-deep",
        origin: "a wildcard of one label matched any number",
        killers: &["net/rule/*/name-labels"],
        needs: &[ONE_LABEL],
        does: &[Gateway],
    },
    Defect {
        name: "case-sensitive",
        origin: "a name in capitals was another one",
        killers: &["net/rule/*/name-upper-case"],
        needs: &[NAMES],
        does: &[Gateway],
    },
    Defect {
        name: "prefix-confusion",
        origin: "a range was compared as text",
        killers: &["net/rule/*/last"],
        needs: &[INSIDE_AN_OCTET],
        does: &[Gateway],
    },
    Defect {
        name: "ports-ignored",
        origin: "a rule for one port of a host opened the others",
        killers: &["net/rule/*/port-*", "net/rule/*/name-port-*"],
        needs: &[OTHER_PORTS],
        does: &[Gateway],
    },
    Defect {
        name: "protocol-ignored",
        origin: "a rule for TCP opened UDP",
        killers: &["net/rule/*/other-protocol"],
        needs: &[OTHER_PROTOCOL],
        does: &[Gateway],
    },
    Defect {
        name: "denied-hangs",
        origin: "what is denied was dropped, and programs waited",
        killers: &["net/*/name-to-private"],
        needs: &[ASTRAY],
        does: &[Gateway],
    },
    Defect {
        name: "proxy-unchecked",
        origin: "a proxy that carried whatever it was asked for",
        killers: &["l7/target/ip-literal"],
        needs: &[PROXY],
        does: &[Gateway],
    },
    Defect {
        name: "plain-http-unchecked",
        origin: "a proxy that filtered CONNECT alone",
        killers: &["l7/http/plain-http"],
        needs: &[PROXY],
        does: &[Gateway],
    },
    Defect {
        name: "host-resolv-conf",
        origin: "the host's resolv.conf was shown inside",
        killers: &["dns/host-resolv-not-mounted"],
        needs: &[BASE],
        does: &[To(widen::host_resolv_conf)],
    },
    Defect {
        name: "network-admin-kept",
        origin: "the workload kept CAP_NET_ADMIN over its namespace",
        killers: &["cap/ambient-empty"],
        needs: &[],
        does: &[To(widen::network_admin)],
    },
];

/// The groups that look at networks, and the two that see what a workload is given.
const GROUPS: &[&str] = &["net", "dns", "l7", "cap"];

/// Whether a plan has a gateway that lets something out.
pub(super) fn lets_out(plan: &Value) -> bool {
    Plan::read(plan).is_ok_and(|read| read.is_some())
}

/// The mutants of a plan that has a network: all defects of a plan with a gateway, and the one of a plan that lets nothing out.
///
/// # Errors
/// When `plan` has no list of steps.
pub(super) fn all(plan: &Value) -> Result<Vec<Mutant>, String> {
    let links = links::all(plan);
    let Some(read) = Plan::read(plan)? else {
        if !links.is_empty() {
            return Ok(links);
        }
        const KILLERS: &[&str] = &["net/tcp/v4"];
        const ORIGIN: &str = "an empty list of what is allowed allowed everything (CVE-2025-66479)";
        let name = "empty-allowlist-opens";
        let opened = widen::empty_opens(plan).map(|plan| mutant(name, (ORIGIN, KILLERS), plan, About::Step));
        return Ok(opened.into_iter().collect());
    };
    // With a link the gateway has the names alone.
    let applies =
        |defect: &&Defect| links.is_empty() || defect.does.iter().all(|does| matches!(does, Gateway));
    let of_gateway = DEFECTS.iter().filter(applies).map(|defect| defect.of(&read));
    Ok(of_gateway.chain(links.iter().cloned()).collect())
}

pub(super) fn mutant(
    name: &str,
    (origin, killers): (&'static str, &'static [&'static str]),
    plan: Value,
    about: About,
) -> Mutant {
    let (name, origin) = (format!("network: {name}"), Some(origin));
    Mutant { name, plan, groups: GROUPS, killers, about, fault: None, gives_less: false, origin }
}

impl Defect {
    fn of(&self, read: &Plan) -> Mutant {
        let mut plan = read.clone();
        for does in self.does {
            match does {
                Gateway => plan.set_egress("mutant", self.name.into()),
                Unprohibit(picks) => plan.drop_prohibited(|net| picks(read, net)),
                To(change) => change(&mut plan),
            }
        }
        let lacks = self.needs.iter().find(|Need(has, _)| !has(read));
        let about = lacks.map_or(About::Step, |Need(_, why)| About::Nothing(why));
        mutant(self.name, (self.origin, self.killers), plan.into_json(), about)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalogue;
    use crate::lab::World;

    fn plan(network: &Value) -> Value {
        let route = |net: &str, kind: &str, clause: &str| json!({"serves": clause, "step": {"add_route": {"net": net, "kind": kind}}});
        let given = |kind: &str, operands: Value| json!({"serves": "network.mode", "step": {kind: operands}});
        let listen = |protocol: &str, port: u16| {
            given("listen", json!({"protocol": protocol, "address": "::", "port": port}))
        };
        json!({"version": 1, "directory": "/work", "environment": {}, "steps": [
            given("new_namespaces", json!({"namespaces": ["user", "network"]})),
            given("loopback_up", json!({})),
            given("add_address", json!({"address": "fd70:616c:6973:ade0::1"})),
            route("0.0.0.0/0", "local", "network.allow[0]"),
            route("100.64.0.0/10", "prohibit", "network.special_use"),
            route("168.63.129.16/32", "prohibit", "network.metadata"),
            route("64:ff9b::a9fe:0/112", "prohibit", "network.special_use"),
            listen("tcp", 443),
            listen("udp", 8080),
            given("serve_egress", json!({"network": network, "resolvers": [], "mutant": null})),
            given("make_file", json!({"path": "/etc/resolv.conf", "content": ""})),
            given("drop_capabilities", json!({"keep": []})),
            given("restrict_landlock", json!({"abi": 7})),
        ]})
    }

    fn rule(peer: &Value, ports: &Value, protocol: &str) -> Value {
        json!({"clause": "network.allow[0]", "peer": peer, "ports": {"list": ports}, "protocol": protocol})
    }

    /// One that has all that defects need.
    fn rich() -> Value {
        let rules = [
            rule(&json!({"host": "*.crates.io"}), &json!([443]), "tcp"),
            rule(&json!({"host": "crates.io"}), &json!([443]), "tcp"),
            rule(&json!({"cidr": "0.0.0.0/0"}), &json!([8080]), "tcp"),
            rule(&json!({"cidr": "172.16.0.0/12"}), &json!([8080]), "tcp"),
        ];
        plan(&json!({"mode": "allowlist", "allow": rules, "proxy": "environment"}))
    }

    #[test]
    fn every_defect_changes_a_plan_that_has_what_it_needs() {
        let plan = rich();
        let mutants = all(&plan).unwrap();
        for (index, mutant) in mutants.iter().enumerate() {
            assert_eq!(mutant.about, About::Step, "{}", mutant.name);
            assert!(mutant.plan != plan && mutants[..index].iter().all(|other| other.plan != mutant.plan));
        }
    }

    #[test]
    fn what_a_plan_cannot_show_is_listed_with_the_reason() {
        let rules = [rule(&json!({"cidr": "10.0.0.0/8"}), &json!([443]), "tcp")];
        let plan = plan(&json!({"mode": "allowlist", "allow": rules, "proxy": "none"}));
        let lines = all(&plan).unwrap().into_iter().map(|mutant| match mutant.about {
            About::Nothing(why) => format!("{}: {why}", mutant.name),
            _ => mutant.name,
        });
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn each_does_what_it_says() {
        let mutants = all(&rich()).unwrap();
        let plan = |name: &str| {
            let mutant = mutants.iter().find(|mutant| mutant.name == format!("network: {name}")).unwrap();
            Plan::read(&mutant.plan).unwrap()
        };
        let routes = |plan: &Plan| plan.routes().map(|(net, _)| net.to_string()).collect::<Vec<_>>();
        let original = routes(&Plan::read(&rich()).unwrap().unwrap());
        let lost = |name: &str| {
            let left = routes(&plan(name).unwrap());
            original.iter().filter(|net| !left.contains(net)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(lost("cgnat-missing"), ["100.64.0.0/10"]);
        assert_eq!(lost("metadata-list-short"), ["168.63.129.16/32"]);
        assert_eq!(lost("embedded-ignored"), ["64:ff9b::a9fe:0/112"]);
        assert_eq!(lost("special-use-open"), ["100.64.0.0/10", "64:ff9b::a9fe:0/112"]);
        assert_eq!(lost("routes-missing"), original);
        assert!(routes(&plan("ipv6-forgotten").unwrap()).contains(&"::/0".to_owned()));
        assert!(plan("host-network-kept").is_none());
    }

    #[test]
    fn where_nothing_is_let_out_an_empty_list_opens() {
        let mut closed = rich();
        let steps = closed["steps"].as_array_mut().unwrap();
        steps.retain(|step| {
            !["add_route", "listen", "serve_egress"].iter().any(|kind| step["step"].get(kind).is_some())
        });
        let mutants = all(&closed).unwrap();
        assert_eq!(
            mutants.iter().map(|mutant| &*mutant.name).collect::<Vec<_>>(),
            ["network: empty-allowlist-opens"]
        );
        assert!(all(&json!({"steps": []})).unwrap().is_empty());
        assert!(all(&json!({})).is_err());
    }

    #[test]
    fn every_pattern_is_of_a_probe_and_every_origin_told() {
        let world = World::described();
        let policies = catalogue::tests::policies();
        let probes: Vec<_> = policies.iter().flat_map(|policy| catalogue::all(&world, policy)).collect();
        for defect in DEFECTS {
            assert!(defect.origin.len() > 20 && !defect.killers.is_empty(), "{}", defect.name);
            for pattern in defect.killers {
                let known = probes.iter().any(|probe| crate::glob::matches(pattern, &probe.id));
                assert!(known, "{}: {pattern} is of no probe", defect.name);
            }
        }
    }
}
