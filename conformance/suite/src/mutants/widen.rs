//! The network of a plan, read and widened. Pure, over JSON, as [`super::derive`].

use ipnet::IpNet;
use palisade_policy::address::metadata;
use serde_json::{Value, json};

use super::derive::without_scopes;

/// A plan with a gateway.
#[derive(Clone)]
pub(super) struct Plan {
    steps: Vec<Value>,
    whole: Value,
}

impl Plan {
    /// The plan, if it has a gateway that lets something out.
    ///
    /// # Errors
    /// When `plan` has no list of steps.
    pub(super) fn read(plan: &Value) -> Result<Option<Self>, String> {
        let steps =
            plan.get("steps").and_then(Value::as_array).ok_or("the plan has no list of steps")?.clone();
        let read = Self { steps, whole: plan.clone() };
        let lets_out = read.mode() == "open" || read.mode() == "allowlist" && read.rules().next().is_some();
        Ok(lets_out.then_some(read))
    }

    pub(super) fn into_json(mut self) -> Value {
        if let Some(steps) = self.whole.get_mut("steps") {
            *steps = self.steps.into();
        }
        self.whole
    }

    /// The operands of each step of this kind.
    fn each(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.steps.iter().filter_map(move |step| step.get("step")?.get(kind))
    }

    /// Puts a step before the first one of this kind, under the name of the clause that opens a network.
    fn insert(&mut self, before: &str, step: Value) {
        let at = self.steps.iter().position(|other| kind(other) == Some(before)).unwrap_or(self.steps.len());
        self.steps.insert(at, json!({"serves": "network.mode", "step": step}));
    }

    fn network(&self) -> Option<&Value> {
        self.each("serve_egress").next()?.get("network")
    }

    pub(super) fn mode(&self) -> &str {
        self.network().and_then(|network| network.get("mode")?.as_str()).unwrap_or_default()
    }

    fn rules(&self) -> impl Iterator<Item = &Value> {
        self.network().and_then(|network| network.get("allow")?.as_array()).into_iter().flatten()
    }

    pub(super) fn has_pattern(&self, picks: impl Fn(&str) -> bool) -> bool {
        self.rules().filter_map(|rule| rule.pointer("/peer/host")?.as_str()).any(picks)
    }

    pub(super) fn has_host_on_443(&self) -> bool {
        let on_443 =
            |rule: &Value| over(rule) == "tcp" && ports(rule).is_none_or(|ports| ports.contains(&443));
        self.rules().any(|rule| rule.pointer("/peer/host").is_some() && on_443(rule))
    }

    /// The ranges of the rules.
    pub(super) fn ranges(&self) -> impl Iterator<Item = IpNet> {
        self.rules().filter_map(|rule| rule.pointer("/peer/cidr")?.as_str()?.parse().ok())
    }

    pub(super) fn has_metadata_in_a_range(&self) -> bool {
        self.ranges().any(|net| metadata::TABLE.iter().any(|entry| net.contains(&entry.net)))
    }

    pub(super) fn has_proxy(&self) -> bool {
        self.network().is_some_and(|network| network.get("proxy") == Some(&"environment".into()))
    }

    pub(super) fn has_ipv6(&self) -> bool {
        self.each("add_address").any(|step| text(step, "address").contains(':'))
    }

    pub(super) fn has_resolv_conf(&self) -> bool {
        self.each("make_file").any(|step| text(step, "path") == RESOLV_CONF)
    }

    /// Whether some port is heard that some rule of the protocol does not list.
    pub(super) fn hears_other_ports(&self) -> bool {
        let listed: Vec<(&str, Vec<u64>)> =
            self.rules().filter_map(|rule| Some((over(rule), ports(rule)?))).collect();
        let differs = |(protocol, ports): &(&str, Vec<u64>)| {
            listed.iter().any(|(other, others)| other == protocol && others != ports)
        };
        !listed.is_empty() && (self.mode() == "open" || listed.iter().any(differs))
    }

    pub(super) fn hears_the_other_protocol(&self) -> bool {
        let heard = |protocol: &str, port: &u64| {
            self.each("listen").any(|step| {
                let everywhere = ["::", "0.0.0.0"].contains(&text(step, "address"));
                everywhere
                    && over(step) != protocol
                    && step.get("port").and_then(Value::as_u64) == Some(*port)
            })
        };
        let lists = |rule: &Value| ports(rule).unwrap_or_default();
        let ranges = || self.rules().filter(|rule| rule.pointer("/peer/cidr").is_some());
        let any = |rule: &Value| lists(rule).iter().any(|port| heard(over(rule), port));
        ranges().any(any) || self.mode() == "open" && ranges().any(|rule| !lists(rule).is_empty())
    }

    /// The routes, each with the clause that it is there for.
    pub(super) fn routes(&self) -> impl Iterator<Item = (IpNet, &str)> {
        let routes = self.steps.iter();
        routes.filter_map(|step| Some((range(step.pointer("/step/add_route")?)?, text(step, "serves"))))
    }

    /// Whether the route for `net` is there for this clause.
    pub(super) fn serves(&self, clause: &str, net: &IpNet) -> bool {
        self.routes().any(|route| route == (*net, clause))
    }

    /// Leaves out the routes that refuse what the test picks.
    pub(super) fn drop_prohibited(&mut self, picks: impl Fn(&IpNet) -> bool) {
        self.steps.retain(|step| {
            let route = step.pointer("/step/add_route");
            let refuses = route.filter(|route| text(route, "kind") == "prohibit").and_then(range);
            refuses.is_none_or(|net| !picks(&net))
        });
    }

    pub(super) fn set_egress(&mut self, key: &str, value: Value) {
        for step in &mut self.steps {
            if let Some(egress) = step.pointer_mut("/step/serve_egress").and_then(Value::as_object_mut) {
                egress.insert(key.to_owned(), value.clone());
            }
        }
    }

    pub(super) fn set_network(&mut self, key: &str, value: Value) {
        if let Some(mut network) = self.network().cloned() {
            if let Some(network) = network.as_object_mut() {
                network.insert(key.to_owned(), value);
            }
            self.set_egress("network", network);
        }
    }

    /// A route to everything of a family.
    fn route(&mut self, net: &str) {
        if !self.each("add_route").any(|route| text(route, "net") == net) {
            self.insert("serve_egress", json!({"add_route": {"net": net, "kind": "local"}}));
        }
    }

    /// Routes to everything, save what is refused. Listeners stay as they are.
    pub(super) fn route_everything(&mut self) {
        self.route("0.0.0.0/0");
        if self.has_ipv6() {
            self.route("::/0");
        }
    }

    /// One rule more, with what carries it.
    fn allow(&mut self, net: &str, protocol: &str, port: u16) {
        self.route(net);
        let anywhere = if self.has_ipv6() { "::" } else { "0.0.0.0" };
        let listen = json!({"protocol": protocol, "address": anywhere, "port": port});
        if !self.each("listen").any(|step| *step == listen) {
            self.insert("serve_egress", json!({ "listen": listen }));
        }
        if protocol == "udp" && self.each("open_raw").next().is_none() {
            self.insert("serve_egress", json!({"open_raw": {"ipv6": self.has_ipv6()}}));
        }
        let mut rules: Vec<Value> = self.rules().cloned().collect();
        rules.push(json!({
            "clause": "network.allow", "peer": {"cidr": net}, "ports": {"list": [port]}, "protocol": protocol,
        }));
        self.set_network("allow", rules.into());
    }
}

/// The steps that make a network. Where there is no namespace for it, none of them is done.
const STEPS: &[&str] = &[
    "loopback_up",
    "add_address",
    "add_route",
    "listen",
    "listen_transparent",
    "open_raw",
    "load_ruleset",
    "serve_egress",
];

/// The network of the host, instead of one of the sandbox's own.
pub(super) fn host_network(plan: &mut Plan) {
    plan.steps.retain(|step| kind(step).is_none_or(|kind| !STEPS.contains(&kind)));
    without_scopes(&mut plan.steps);
    for step in &mut plan.steps {
        if let Some(all) = step.pointer_mut("/step/new_namespaces/namespaces").and_then(Value::as_array_mut) {
            all.retain(|name| name != "network");
        }
    }
}

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Every resolver may be asked.
pub(super) fn resolvers(plan: &mut Plan) {
    plan.allow("0.0.0.0/0", "udp", 53);
}

/// Every IPv6 address may be reached.
pub(super) fn ipv6(plan: &mut Plan) {
    plan.allow("::/0", "tcp", 80);
}

/// Nothing is routed, and so nothing is reached.
pub(super) fn no_routes(plan: &mut Plan) {
    plan.steps.retain(|step| kind(step) != Some("add_route"));
}

/// The host's configuration of resolvers is put over the sandbox's own.
pub(super) fn host_resolv_conf(plan: &mut Plan) {
    let is_own =
        |step: &Value| step.pointer("/step/make_file").is_some_and(|file| text(file, "path") == RESOLV_CONF);
    let Some(own) = plan.steps.iter().position(is_own) else { return };
    let bind = json!({
        "source": RESOLV_CONF, "path": RESOLV_CONF, "recursive": true,
        "attributes": {"read_only": true, "nosuid": true, "nodev": true, "noexec": true},
    });
    plan.steps.insert(own + 1, json!({"serves": "filesystem.base", "step": {"mount_bind": bind}}));
}

/// The workload keeps what it takes to change routes and rules.
pub(super) fn network_admin(plan: &mut Plan) {
    for step in &mut plan.steps {
        for kind in ["drop_bounding_set", "drop_capabilities"] {
            if let Some(kept) = step.pointer_mut(&format!("/step/{kind}/keep")) {
                *kept = json!(["CAP_NET_ADMIN"]);
            }
        }
    }
}

/// Where nothing is let out, a gateway for which an empty list means everything; with a route, and a socket that takes what
/// the route brings.
pub(super) fn empty_opens(plan: &Value) -> Option<Value> {
    let steps = plan.get("steps")?.as_array()?.clone();
    if steps.iter().any(|step| kind(step) == Some("serve_egress")) {
        return None;
    }
    let mut opened = Plan { steps, whole: plan.clone() };
    let network = json!({
        "mode": "allowlist", "backend": "auto", "metadata": "block", "special_use": "block", "allow": [],
        "dns": {"servers": []}, "publish": [], "proxy": "none",
    });
    let at = opened.steps.iter().position(|step| kind(step) == Some("loopback_up"))? + 1;
    let egress = [
        json!({"add_route": {"net": "0.0.0.0/0", "kind": "local"}}),
        json!({"listen": {"protocol": "tcp", "address": "0.0.0.0", "port": 80}}),
        json!({"serve_egress": {"network": network, "resolvers": [], "mutant": "empty-allowlist-opens"}}),
    ];
    opened.steps.splice(at..at, egress.map(|step| json!({"serves": "network.mode", "step": step})));
    Some(opened.into_json())
}

/// The plan with a gateway that lets through whatever it is brought: what its routes refuse is then refused by them alone.
pub(super) fn undecided(plan: &Value) -> Value {
    let Ok(Some(mut open)) = Plan::read(plan) else { return plan.clone() };
    for (key, value) in [("mode", "open"), ("metadata", "allow"), ("special_use", "allow")] {
        open.set_network(key, value.into());
    }
    open.set_egress("mutant", "host-reached".into());
    open.into_json()
}

/// Why no connection meets a route for this range.
pub(super) fn never_met(net: &IpNet) -> Option<&'static str> {
    if is_in("fe80::/10", net) {
        Some("a link-local address leads nowhere without its link, and a gateway knows none")
    } else if is_in("::ffff:0:0/96", net) {
        Some("the kernel takes a mapped address for the IPv4 one, and looks for that one's route")
    } else {
        None
    }
}

/// Whether the range is one of carrier-grade NAT.
pub(super) fn is_cgnat(net: &IpNet) -> bool {
    is_in("100.64.0.0/10", net)
}

/// Whether the range is one of addresses that a NAT64 translates.
pub(super) fn is_translated(net: &IpNet) -> bool {
    is_in("64:ff9b::/96", net)
}

fn is_in(range: &str, net: &IpNet) -> bool {
    range.parse::<IpNet>().is_ok_and(|range| range.contains(net))
}

fn kind(step: &Value) -> Option<&str> {
    step.get("step")?.as_object()?.keys().next().map(String::as_str)
}

fn text<'a>(operands: &'a Value, key: &str) -> &'a str {
    operands.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn range(route: &Value) -> Option<IpNet> {
    text(route, "net").parse().ok()
}

/// The protocol of a rule or a socket.
fn over(rule: &Value) -> &str {
    text(rule, "protocol")
}

/// The ports of a rule; `None` for all.
fn ports(rule: &Value) -> Option<Vec<u64>> {
    let list = rule.pointer("/ports/list")?.as_array()?;
    Some(list.iter().filter_map(Value::as_u64).collect())
}
