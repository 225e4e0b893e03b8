//! What a network is carried by, and ruled by.

use palisade_plan::facts::{Ability, HostFacts, LinkFacts};

use super::{Finding, Status, tried};
use crate::observe::{Answer, Observed, Trial};

const RULES: &str =
    "`ports: any`, `mode: open`, more than 64 ports, and every backend but the gateway are refused";

pub(super) fn findings(facts: &HostFacts, observed: &Observed) -> Vec<Finding> {
    let Some(links) = &observed.network.links else { return Vec::new() };
    vec![
        Finding::available("network/gateway", "needs nothing of the host"),
        ipv6(observed),
        tried("network/nftables", observed.answer(Trial::Nftables), "in a network namespace of its own")
            .means(RULES)
            .mended_by(Some("modprobe nf_tables")),
        program("network/nft", "nft", "nftables", observed).means(RULES),
        tun(observed, links),
        by_program("network/pasta", "pasta", "passt", observed, links),
        by_program("network/slirp4netns", "slirp4netns", "slirp4netns", observed, links),
        interface("network/veth", Trial::Veth, "veth", facts, observed, links),
        interface("network/macvlan", Trial::Macvlan, "macvlan", facts, observed, links),
    ]
}

fn ipv6(observed: &Observed) -> Finding {
    let id = "network/ipv6";
    match observed.network.ipv6 {
        true => Finding::available(id, "spoken"),
        false => Finding::new(
            id,
            Status::Absent,
            "this kernel does not speak it, or was started with ipv6.disable=1",
        )
        .means("rules for IPv6 ranges reach nothing"),
    }
}

fn program(id: &'static str, name: &str, package: &str, observed: &Observed) -> Finding {
    match observed.programs.get(name) {
        Some(version) => Finding::available(id, version),
        None => Finding::new(
            id,
            Status::Absent,
            format!("no program `{name}` where administrators' programs are"),
        )
        .mended_by(observed.install(package)),
    }
}

fn tun(observed: &Observed, links: &LinkFacts) -> Finding {
    let id = "network/tun";
    let finding = match &links.tun {
        Ability::Available => tried(id, observed.answer(Trial::Tun), "an interface of /dev/net/tun"),
        Ability::Unavailable(said) if said.contains("ENOENT") || said.contains("ENODEV") => {
            Finding::new(id, Status::Absent, said.clone()).mended_by(Some("modprobe tun"))
        }
        Ability::Unavailable(said) => {
            Finding::new(id, Status::Unavailable, said.clone()).mended_by(Some("chmod 0666 /dev/net/tun"))
        }
    };
    finding.means("`backend: pasta` and `backend: slirp4netns` are refused")
}

/// A backend that is a program, with an interface of tun.
fn by_program(
    id: &'static str,
    name: &str,
    package: &str,
    observed: &Observed,
    links: &LinkFacts,
) -> Finding {
    let consequence = format!("`backend: {name}` is refused; `backend: gateway` needs none");
    let finding = program(id, name, package, observed);
    if finding.status == Status::Available && links.tun != Ability::Available {
        let version = &finding.value;
        return Finding::new(id, Status::Partial, format!("{version}, and no /dev/net/tun"))
            .means(consequence);
    }
    finding.means(consequence)
}

/// A backend that is an interface of the host's.
fn interface(
    id: &'static str,
    trial: Trial,
    name: &str,
    facts: &HostFacts,
    observed: &Observed,
    links: &LinkFacts,
) -> Finding {
    let consequence = format!("`backend: {name}` is refused; `backend: gateway` needs none");
    let finding = tried(id, observed.answer(trial), "interfaces can be made");
    let finding = match observed.answer(trial) {
        Answer::Done if !links.net_admin => {
            let who = if facts.caller.kernel_root { "without CAP_NET_ADMIN" } else { "an ordinary user" };
            Finding::new(
                id,
                Status::Unavailable,
                format!("the kernel has it; {who} cannot make one on the host"),
            )
        }
        Answer::Done if trial == Trial::Veth && !links.forwards[0] => Finding::new(
            id,
            Status::Unavailable,
            "net.ipv4.ip_forward is 0: nothing goes from one interface to another",
        )
        .mended_by(Some("sysctl -w net.ipv4.ip_forward=1")),
        Answer::Refused(_) if finding.status == Status::Absent => {
            finding.mended_by(Some(format!("modprobe {name}")))
        }
        Answer::Done | Answer::Refused(_) | Answer::Killed(_) | Answer::Untried(_) => finding,
    };
    finding.means(consequence)
}
