//! Plans with a link, as snapshots, and what is refused where a host has not what it takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use palisade_plan::facts::{Ability, HostFacts, LinkFacts};
use palisade_plan::{KERNEL_ID_BASE, Plan, Refusal, Situation, Step, decide};
use palisade_policy::{Backend, Document, Link, Policy};
use rstest::rstest;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

fn links() -> LinkFacts {
    LinkFacts {
        pasta: Some("/usr/bin/pasta".into()),
        slirp4netns: Some("/usr/bin/slirp4netns".into()),
        shared_tmp: false,
        tun: Ability::Available,
        interface: Ability::Available,
        net_admin: true,
        forwards: [true, true],
        own: BTreeSet::from(["203.0.113.200", "2001:db8::200"].map(|text| text.parse().expect("an address"))),
        isolated: false,
        uplink: "eth0".into(),
        free: 7,
    }
}

fn host(name: &str, links: LinkFacts) -> HostFacts {
    let text = fs::read_to_string(fixtures().join(format!("hosts/{name}.json"))).expect("a recorded host");
    let mut facts: HostFacts = serde_json::from_str(&text).expect("valid facts");
    let network = facts.network.as_mut().expect("a host with a network");
    network.nft = Some("/usr/sbin/nft".into());
    network.links = Some(links);
    facts
}

fn policy(network: &str, backend: Backend) -> Policy {
    let text = format!("filesystem: {{base: none}}\nnetwork: {{{network}}}\n");
    let mut policy = Document::parse("link", &text).expect("a valid policy").policy;
    policy.network.backend = backend;
    policy
}

const RANGES: &str = "mode: allowlist, allow: [{cidr: 203.0.113.0/24, ports: [443]}, {cidr: '2001:db8::/32', ports: any}, \
                      {cidr: 203.0.113.200/32, ports: [22]}]";
const NAMES: &str = "mode: allowlist, allow: [{host: example.org, ports: [443]}, {cidr: 203.0.113.0/24, ports: [53], protocol: udp}]";

fn decided(policy: &Policy, facts: &HostFacts) -> Result<Plan, Refusal> {
    let situation = Situation {
        directory: "/".into(),
        environment: Default::default(),
        kernel_id: KERNEL_ID_BASE + 4242,
    };
    decide(policy, facts, &situation)
}

/// The steps and the coverage that are about the network, the rules among them.
fn network(plan: &Plan) -> String {
    let mut text = String::new();
    for planned in plan.steps.iter().filter(|planned| planned.serves.as_str().starts_with("network.")) {
        text += &format!("{:16} {}\n", planned.step.name(), planned.step.operand());
        if let Step::LoadRuleset { ruleset, .. } = &planned.step {
            text += &rules(ruleset);
        }
    }
    for coverage in plan.coverage.iter().filter(|coverage| coverage.clause.as_str().starts_with("network.")) {
        text += &format!("{} {}: {}\n", coverage.clause, coverage.requested, coverage.mechanism);
    }
    text
}

/// One line a rule.
fn rules(ruleset: &str) -> String {
    let ruleset: serde_json::Value = serde_json::from_str(ruleset).expect("JSON");
    let objects = ruleset["nftables"].as_array().expect("a list").iter();
    let rules = objects.filter_map(|object| object.pointer("/add/rule"));
    rules.map(|rule| format!("    {} {}\n", rule["chain"], rule["expr"])).collect()
}

#[rstest]
fn plans_with_a_link_are_as_recorded(
    #[values(Backend::Pasta, Backend::Slirp4netns, Backend::Veth, Backend::Macvlan)] backend: Backend,
    #[values("root", "user")] who: &str,
) {
    let mut policy = policy(RANGES, backend);
    policy.network.link =
        (backend == Backend::Macvlan).then(|| Link::parse("lan0,192.0.2.7=192.0.2.1").unwrap());
    let privileged = who == "root";
    let facts = host(&format!("debian12-6.18-{who}"), LinkFacts { net_admin: privileged, ..links() });
    let text = match decided(&policy, &facts) {
        Ok(plan) => network(&plan),
        Err(refusal) => format!("refused: {}\n", refusal.reasons[0].message),
    };
    insta::assert_snapshot!(format!("{}--{who}", backend.word()), text);
}

#[test]
fn names_stay_with_the_gateway() {
    let plan = decided(&policy(NAMES, Backend::Pasta), &host("debian12-6.18-user", links())).expect("a plan");
    insta::assert_snapshot!(network(&plan));
}

#[test]
fn an_open_network_has_a_default_route_and_every_name() {
    let plan = decided(&policy("mode: open", Backend::Slirp4netns), &host("debian12-6.18-root", links()))
        .expect("a plan");
    let text = network(&plan);
    for line in [
        "0.0.0.0/0 by 198.18.0.2",
        "::/0 by fe80::2",
        "prohibit 169.254.0.0/16",
        "prohibit 10.0.0.0/8",
        "local 198.18.0.0/15",
        "listen transparent",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
}

/// The order is the protection: rules before there is a link, the link before the workload.
#[rstest]
fn the_rules_are_in_force_before_the_link(#[values(RANGES, NAMES, "mode: open")] network: &str) {
    let plan =
        decided(&policy(network, Backend::Pasta), &host("debian12-6.18-user", links())).expect("a plan");
    let at = |name: &str| plan.steps.iter().rposition(|planned| planned.step.name() == name).expect(name);
    assert!(at("load ruleset") < at("attach link"));
    assert!(at("attach link") < at("link up") && at("link up") < at("drop capabilities"));
}

#[test]
fn where_nothing_leads_out_the_link_says_so_by_its_name() {
    let of = |isolated| {
        let facts = host("debian12-6.18-user", LinkFacts { isolated, ..links() });
        network(&decided(&policy(RANGES, Backend::Slirp4netns), &facts).expect("a plan"))
    };
    assert!(of(true).contains("attach link      plsd0:") && !of(true).contains("eth0"));
    assert!(of(false).contains("attach link      eth0:") && !of(false).contains("plsd0"));
}

#[rstest]
#[case::no_program(Backend::Pasta, LinkFacts { pasta: None, ..links() }, "no program `pasta`")]
#[case::no_slirp(Backend::Slirp4netns, LinkFacts { slirp4netns: None, ..links() }, "no program `slirp4netns`")]
#[case::no_tun(Backend::Pasta, LinkFacts { tun: Ability::Unavailable("open /dev/net/tun: EACCES".into()), ..links() }, "/dev/net/tun: EACCES")]
#[case::no_privilege(Backend::Veth, LinkFacts { net_admin: false, ..links() }, "CAP_NET_ADMIN")]
#[case::no_forwarding(Backend::Veth, LinkFacts { forwards: [false, true], ..links() }, "does not carry packets")]
#[case::no_veth(Backend::Veth, LinkFacts { interface: Ability::Unavailable("EOPNOTSUPP".into()), ..links() }, "has no such interface: EOPNOTSUPP")]
#[case::no_macvlan(Backend::Macvlan, LinkFacts { interface: Ability::Unavailable("EOPNOTSUPP".into()), ..links() }, "has no such interface: EOPNOTSUPP")]
#[case::no_place(Backend::Macvlan, links(), "where the interface is put")]
fn what_a_host_lacks_is_refused(#[case] backend: Backend, #[case] links: LinkFacts, #[case] why: &str) {
    let refusal = decided(&policy(RANGES, backend), &host("debian12-6.18-root", links)).expect_err("refused");
    let reason = &refusal.reasons[0];
    assert_eq!(reason.clause.as_str(), "network.backend");
    assert!(reason.message.contains(why) && reason.message.starts_with(backend.word()), "{}", reason.message);
    assert!(reason.hint.is_some());
}

#[test]
fn without_nftables_no_link_is_made() {
    let mut facts = host("debian12-6.18-root", links());
    facts.network.as_mut().expect("a network").nft = None;
    let refusal = decided(&policy(RANGES, Backend::Pasta), &facts).expect_err("refused");
    assert!(refusal.reasons[0].message.contains("no program `nft`"));
}

/// The gateway needs the kernel's nftables only for what it cannot listen to port by port.
#[rstest]
#[case::a_link(Backend::Pasta, RANGES, true)]
#[case::every_port(Backend::Gateway, "mode: allowlist, allow: [{cidr: 203.0.113.0/24, ports: any}]", true)]
#[case::a_list(Backend::Gateway, "mode: allowlist, allow: [{cidr: 203.0.113.0/24, ports: [443]}]", false)]
fn without_nftables_in_the_kernel_there_are_no_rules(
    #[case] backend: Backend,
    #[case] network: &str,
    #[case] needs: bool,
) {
    let mut facts = host("debian12-6.18-root", links());
    decided(&policy(network, backend), &facts).expect("a plan");
    facts.network.as_mut().expect("a network").nftables = Ability::Unavailable("EOPNOTSUPP".into());
    match decided(&policy(network, backend), &facts) {
        Ok(_) => assert!(!needs),
        Err(refusal) => {
            let reason = &refusal.reasons[0];
            assert!(needs && reason.message.contains("this kernel takes none: EOPNOTSUPP"), "{reason:?}");
        }
    }
}
