//! The plumbed backends: allowed ranges are reached by an interface of the sandbox's own.
//!
//! Names stay with the gateway, whatever carries the rest: nobody else connects a name with the address that it was judged
//! by. So the range of their addresses is the sandbox's own here too, and what its link's other end calls itself in that range
//! cannot be reached.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use palisade_policy::address::synthetic::{
    LAB_LINK, LINK_ROUTER_V4, LINK_ROUTER_V6, LINK_V4, LINK_V6, own_link,
};
use palisade_policy::{
    AllowRule, Backend, Identity, Network, NetworkMode, Peer, Policy, Ports, Protocol, Proxy,
};

use super::{BACKEND, MODE, blocked, filter, has_names, listen, own_addresses, peer, routes, ruleset, serve};
use crate::decide::Draft;
use crate::facts::{Caller, LinkFacts, NetworkFacts};
use crate::plan::Status;
use crate::step::{Carrier, RouteKind, Step};

/// The longest packet of a link that is a program's: it saves system calls, since no wire carries it (slirp4netns(1), `--mtu`;
/// passt(1), `--mtu`).
const LONG_PACKETS: u32 = 65_520;

/// A link as it is planned.
struct Link {
    carrier: Carrier,
    addresses: Vec<IpAddr>,
    routers: Vec<IpAddr>,
    mtu: Option<u32>,
}

/// Plans the link, what may leave by it, and the gateway for names.
pub(super) fn link(policy: &Policy, caller: &Caller, facts: &NetworkFacts, draft: &mut Draft) {
    let network = &policy.network;
    let Some(links) = &facts.links else {
        draft.refuse(&BACKEND, "nothing is known about how this host could carry a link", None);
        return;
    };
    let backend = network.backend;
    let planned = match backend {
        Backend::Pasta => pasta(caller, facts, links),
        Backend::Slirp4netns => slirp4netns(policy, caller, facts, links),
        Backend::Veth => veth(facts, links),
        _ => macvlan(network, facts, links),
    };
    let link = match planned {
        Ok(link) => link,
        Err((why, hint)) => return draft.refuse(&BACKEND, format!("{}: {why}", backend.word()), Some(hint)),
    };
    let nft = match ruleset::loader(facts) {
        Ok(nft) => nft,
        Err((lacks, help)) => {
            let why =
                format!("{}: what may leave by a link is said by nftables, and {lacks}", backend.word());
            return draft.refuse(&BACKEND, why, Some(&format!("{help}, or write `backend: gateway`")));
        }
    };
    let names = names(network);
    let served = has_names(network) || network.proxy == Proxy::Environment;
    if served {
        own_addresses(facts, draft);
        listen::listen(&names, facts, draft);
    }
    // The rules are in force before there is anything that they could be late for.
    let ruleset = filter::filter(network, facts.ipv6, name(links), &links.own);
    draft.step(&MODE, Step::LoadRuleset { nft, ruleset });
    draft.step(&BACKEND, Step::AttachLink { name: name(links).to_owned(), carrier: link.carrier });
    draft.step(&BACKEND, Step::LinkUp { addresses: link.addresses, mtu: link.mtu });
    let way = |net: IpNet| {
        let router = link.routers.iter().find(|router| router.is_ipv4() == matches!(net, IpNet::V4(_)))?;
        Some(RouteKind::Link { router: *router })
    };
    routes::routes(network, facts, Some(&way), &links.own, draft);
    if served || !network.publish.is_empty() {
        serve(network, facts, draft);
    }
    cover(network, facts, &link.routers, draft);
}

fn cover(network: &Network, facts: &NetworkFacts, routers: &[IpAddr], draft: &mut Draft) {
    let word = network.backend.word();
    let mechanism = format!("{word}; routes and nftables are the allowlist");
    let mut notes = vec!["what the kernel refuses by a route or a rule is not in the report".to_owned()];
    if !(facts.ipv6 && routers.iter().any(IpAddr::is_ipv6)) {
        notes.push("this link has no IPv6: rules for IPv6 ranges reach nothing".to_owned());
    }
    draft.covered(&MODE, network.mode.to_string(), mechanism, Status::Enforced, notes);
    draft.enforced(&BACKEND, word, "as the policy says; names are carried by the gateway");
    blocked(network, "prohibit routes, and nftables rules that are in force before the link exists", draft);
    for rule in &network.allow {
        let mechanism = match rule.peer {
            Peer::Host(_) => "gateway".to_owned(),
            Peer::Cidr(_) => word.to_owned(),
        };
        draft.enforced(&rule.clause, peer(rule), mechanism);
    }
}

/// What is left for the gateway: the names, on every port that a rule has. What a name leads to may be allowed as an address.
fn names(network: &Network) -> Network {
    let mut names = network.clone();
    if !has_names(network) {
        names.allow.clear();
        return names;
    }
    let every = || Peer::Host("**".to_owned());
    for rule in &mut names.allow {
        if let Peer::Cidr(_) = rule.peer {
            rule.peer = every();
        }
    }
    if network.mode == NetworkMode::Open {
        names.mode = NetworkMode::Allowlist;
        let any = |protocol| AllowRule { clause: MODE, peer: every(), ports: Ports::Any, protocol };
        names.allow.extend([Protocol::Tcp, Protocol::Udp].map(any));
    }
    names
}

/// The name of the interface, inside. By it whoever stands inside can tell that nothing behind it leads out: probes of the
/// network look at it.
fn name(links: &LinkFacts) -> &'static str {
    if links.isolated { "plsd0" } else { "eth0" }
}

/// Why a link cannot be had, and what would help.
type Missing = (String, &'static str);

/// What a program needs that makes a link.
fn program(name: &str, found: Option<&PathBuf>, links: &LinkFacts) -> Result<PathBuf, Missing> {
    let Some(path) = found else {
        return Err((
            format!("this host has no program `{name}`"),
            "install it, or write `backend: gateway`",
        ));
    };
    match links.tun.reason() {
        None => Ok(path.clone()),
        Some(reason) => Err((
            reason.to_owned(),
            "the caller has to be allowed to open /dev/net/tun; `backend: gateway` needs none",
        )),
    }
}

/// The addresses of a link that only its sandbox sees.
fn private(facts: &NetworkFacts) -> (Vec<IpAddr>, Vec<IpAddr>) {
    let v6 = |address: IpAddr| facts.ipv6.then_some(address);
    (
        [LINK_V4.into()].into_iter().chain(v6(LINK_V6.into())).collect(),
        [LINK_ROUTER_V4.into()].into_iter().chain(v6(LINK_ROUTER_V6.into())).collect(),
    )
}

/// pasta, with nothing that it offers by itself (passt(1)): no port forwarded either way, no address that means the host, no
/// configuration handed to the guest.
fn pasta(caller: &Caller, facts: &NetworkFacts, links: &LinkFacts) -> Result<Link, Missing> {
    let path = program("pasta", links.pasta.as_ref(), links)?;
    let (addresses, routers) = private(facts);
    let mut words = vec!["--foreground", "--quiet", "--ns-ifname", name(links)];
    words.extend(["--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"]);
    words.extend(["--no-map-gw", "--no-dhcp", "--no-dhcpv6", "--no-ra", "--dns", "none", "--search", "none"]);
    // It takes what it is not told from an interface of the host, which may not have it.
    words.extend(["--mac-addr", "02:00:00:00:00:01", "--netmask", "24", "--interface", &links.uplink]);
    let mut arguments: Vec<String> = words.into_iter().map(str::to_owned).collect();
    for (option, list) in [("--address", &addresses), ("--gateway", &routers)] {
        arguments.extend(list.iter().flat_map(|address| [option.to_owned(), address.to_string()]));
    }
    if !facts.ipv6 {
        arguments.push("--ipv4-only".to_owned());
    }
    if caller.uid == 0 {
        // Otherwise it becomes nobody, who may not enter the sandbox's namespaces.
        arguments.extend(["--runas", "0:0"].map(str::to_owned));
    }
    arguments.extend(["--userns", "{user}", "--netns", "{network}"].map(str::to_owned));
    Ok(Link { carrier: Carrier::Program { path, arguments }, addresses, routers, mtu: Some(LONG_PACKETS) })
}

/// slirp4netns, without its way to the host's loopback and without its resolver (slirp4netns(1)).
fn slirp4netns(
    policy: &Policy,
    caller: &Caller,
    facts: &NetworkFacts,
    links: &LinkFacts,
) -> Result<Link, Missing> {
    let path = program("slirp4netns", links.slirp4netns.as_ref(), links)?;
    let (addresses, routers) = private(facts);
    let mut words =
        vec!["--disable-host-loopback", "--disable-dns", "--cidr=198.18.0.0/24", "--enable-seccomp"];
    if facts.ipv6 {
        words.push("--enable-ipv6");
    }
    // Its own sandbox: it enters the workload's user namespace for it, as gid 0, which there has to be; or none, and then the
    // mounts of this host stay shared in it.
    let enters = !caller.privileged || policy.process.identity == Identity::Root;
    if policy.process.identity == Identity::Root || (!enters && !links.shared_tmp) {
        words.push("--enable-sandbox");
    }
    if enters {
        words.push("--userns-path={user}");
    }
    words.extend(["--netns-type=path", "{network}", name(links)]);
    let arguments = words.into_iter().map(str::to_owned).collect();
    Ok(Link { carrier: Carrier::Program { path, arguments }, addresses, routers, mtu: Some(LONG_PACKETS) })
}

/// What an interface of this host's needs.
fn privileged(links: &LinkFacts) -> Result<(), Missing> {
    if let Some(reason) = links.interface.reason() {
        return Err((
            format!("this kernel has no such interface: {reason}"),
            "load its module, or write `backend: gateway`",
        ));
    }
    if links.net_admin {
        return Ok(());
    }
    Err((
        "making an interface needs CAP_NET_ADMIN on this host".into(),
        "run as root, or write `backend: gateway`",
    ))
}

/// A veth pair. The host's end is one of its interfaces like any other: what is allowed goes where this host routes it, with
/// the address of the sandbox's end unless the host translates it.
fn veth(facts: &NetworkFacts, links: &LinkFacts) -> Result<Link, Missing> {
    privileged(links)?;
    let [v4, v6] = links.forwards;
    if !v4 {
        return Err((
            "this host does not carry packets between its interfaces".into(),
            "`sysctl -w net.ipv4.ip_forward=1` lets it; so that answers come back, 198.19.0.0/16 has to be translated: \
             `nft add rule ip nat postrouting ip saddr 198.19.0.0/16 masquerade`",
        ));
    }
    let (own_v4, own_v6) = own_link(links.free);
    let mut addresses = vec![own_v4.into()];
    let mut routers = vec![LINK_ROUTER_V4.into()];
    if facts.ipv6 && v6 {
        addresses.push(own_v6.into());
        routers.push(LINK_ROUTER_V6.into());
    }
    let carrier = Carrier::Veth {
        name: format!("{LAB_LINK}{}", links.free),
        routers: routers.clone(),
        addresses: addresses.clone(),
    };
    Ok(Link { carrier, addresses, routers, mtu: None })
}

/// A macvlan interface, where the policy says.
fn macvlan(network: &Network, facts: &NetworkFacts, links: &LinkFacts) -> Result<Link, Missing> {
    privileged(links)?;
    let Some(link) = &network.link else {
        return Err((
            "the policy does not say where the interface is put".into(),
            "write `link: {parent: eth0, addresses: [192.0.2.7], gateways: [192.0.2.1]}`",
        ));
    };
    let spoken =
        |list: &[IpAddr]| list.iter().copied().filter(|address| facts.ipv6 || address.is_ipv4()).collect();
    Ok(Link {
        carrier: Carrier::Macvlan { parent: link.parent.clone() },
        addresses: spoken(&link.addresses),
        routers: spoken(&link.gateways),
        mtu: None,
    })
}
