//! Defects of sandboxes that reach their network by a link, as mutants of a plan: each with the system in which it was found.
//!
//! Routes and rules say the same twice, so a defect of one alone changes nothing that a workload could see, except for ports,
//! which only rules know.

use serde_json::{Value, json};

use super::derive::{About, Mutant};
use super::network::mutant;

/// One defect.
struct Defect {
    name: &'static str,
    origin: &'static str,
    /// Patterns over the probes that must notice it.
    killers: &'static [&'static str],
    does: fn(&mut Vec<Value>),
}

const DEFECTS: &[Defect] = &[
    Defect {
        name: "rules-missing",
        origin: "a link without a filter: whoever may be reached may be reached on every port",
        killers: &["net/rule/*/port-*", "net/port/*", "net/tcp/*"],
        does: without_rules,
    },
    Defect {
        name: "nothing-filtered",
        origin: "a link with a default route and no rules (an operator's own bridge)",
        killers: &["net/tcp/v4"],
        does: |steps| {
            without_rules(steps);
            steps.retain(|step| {
                pointer(step, "add_route").and_then(|route| route.get("kind")) != Some(&json!("prohibit"))
            });
            route_everything(steps);
        },
    },
    Defect {
        name: "blocked-ranges-open",
        origin: "metadata and private addresses reached through an open egress",
        killers: &["net/metadata/*", "net/tcp/*", "net/rule/*"],
        does: |steps| {
            steps.retain(|step| {
                pointer(step, "add_route").and_then(|route| route.get("kind")) != Some(&json!("prohibit"))
            });
            edit_rules(steps, |rule| !(is_refusal(rule) && has_range(rule)));
        },
    },
    Defect {
        name: "default-flags",
        origin: "pasta and slirp4netns as they come: the host's loopback is the sandbox's, or behind its router",
        killers: &["net/host/*", "net/loopback/*"],
        does: default_flags,
    },
    Defect {
        name: "rules-late",
        origin: "rules that were loaded when the link was there already",
        killers: &["net/tcp/v4"],
        does: |steps| {
            let (rules, others): (Vec<Value>, Vec<Value>) =
                steps.drain(..).partition(|step| pointer(step, "load_ruleset").is_some());
            let at = others.iter().rposition(|step| pointer(step, "add_route").is_some());
            *steps = others;
            let at = at.map_or(steps.len(), |at| at + 1);
            steps.splice(at..at, rules);
        },
    },
];

/// The mutants of a plan that has a link; none of another.
pub(super) fn all(plan: &Value) -> Vec<Mutant> {
    let Some(steps) = plan.get("steps").and_then(Value::as_array) else { return Vec::new() };
    let Some(attach) = steps.iter().find_map(|step| pointer(step, "attach_link")) else { return Vec::new() };
    let pasta = attach
        .pointer("/carrier/program/path")
        .and_then(Value::as_str)
        .is_some_and(|path| path.ends_with("/pasta"));
    let blocks = steps.iter().any(|step| {
        pointer(step, "add_route").and_then(|route| route.get("kind")) == Some(&json!("prohibit"))
    });
    let made = DEFECTS.iter().map(|defect| {
        let mut mutated = plan.clone();
        if let Some(steps) = mutated.get_mut("steps").and_then(Value::as_array_mut) {
            (defect.does)(steps);
        }
        let about = match defect.name {
            "default-flags" if !pasta => {
                About::Nothing("what this backend offers lies at addresses that are not routed")
            }
            "blocked-ranges-open" if !blocks => {
                About::Nothing("no rule's range has anything in it that is blocked")
            }
            "rules-late" => About::Nothing("nothing of the workload runs before the last step"),
            _ => About::Step,
        };
        mutant(&format!("link: {}", defect.name), (defect.origin, defect.killers), mutated, about)
    });
    made.collect()
}

/// The operands of a step, if it is of this kind.
fn pointer<'a>(step: &'a Value, kind: &str) -> Option<&'a Value> {
    step.get("step")?.get(kind)
}

fn without_rules(steps: &mut Vec<Value>) {
    steps.retain(|step| pointer(step, "load_ruleset").is_none());
}

/// Adds a default route of each family by the router of another one, where there is another one.
fn route_everything(steps: &mut Vec<Value>) {
    for (net, is_family) in [("0.0.0.0/0", '.'), ("::/0", ':')] {
        let of_family = |step: &Value| {
            let route = pointer(step, "add_route")?;
            let router = route.pointer("/kind/link/router")?.as_str()?;
            router.contains(is_family).then(|| route.get("kind").cloned()).flatten()
        };
        let Some(kind) = steps.iter().find_map(of_family) else { continue };
        let is_there =
            |step: &Value| pointer(step, "add_route").and_then(|route| route.get("net")) == Some(&json!(net));
        if steps.iter().any(is_there) {
            continue;
        }
        let at =
            steps.iter().position(|step| pointer(step, "link_up").is_some()).map_or(steps.len(), |at| at + 1);
        steps
            .insert(at, json!({"serves": "network.mode", "step": {"add_route": {"net": net, "kind": kind}}}));
    }
}

/// Keeps the rules of each ruleset that `keep` picks.
fn edit_rules(steps: &mut [Value], keep: impl Fn(&Value) -> bool) {
    for step in steps {
        let Some(ruleset) = step.pointer_mut("/step/load_ruleset/ruleset") else { continue };
        let Some(mut rules) = ruleset.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok())
        else {
            continue;
        };
        if let Some(list) = rules.get_mut("nftables").and_then(Value::as_array_mut) {
            list.retain(|object| object.pointer("/add/rule").is_none_or(&keep));
        }
        *ruleset = Value::String(rules.to_string());
    }
}

fn is_refusal(rule: &Value) -> bool {
    statements(rule).any(|statement| statement.get("reject").is_some())
}

fn has_range(rule: &Value) -> bool {
    statements(rule).any(|statement| statement.pointer("/match/left/payload/field") == Some(&json!("daddr")))
}

fn statements(rule: &Value) -> impl Iterator<Item = &Value> {
    rule.get("expr").and_then(Value::as_array).into_iter().flatten()
}

/// Takes the flags away that close what pasta offers by itself.
fn default_flags(steps: &mut Vec<Value>) {
    const CLOSING: [&str; 4] = ["--tcp-ports", "--udp-ports", "--tcp-ns", "--udp-ns"];
    for step in steps {
        let Some(words) =
            step.pointer_mut("/step/attach_link/carrier/program/arguments").and_then(Value::as_array_mut)
        else {
            continue;
        };
        let mut words_left = std::mem::take(words).into_iter();
        while let Some(word) = words_left.next() {
            if word.as_str().is_some_and(|word| CLOSING.contains(&word)) {
                words_left.next();
            } else if word != json!("--no-map-gw") {
                words.push(word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Value {
        let given = |kind: &str, operands: Value| json!({"serves": "network.mode", "step": {kind: operands}});
        let ruleset = json!({"nftables": [
            {"add": {"chain": {"name": "out"}}},
            {"add": {"rule": {"expr": [{"match": {"left": {"payload": {"field": "daddr"}}}}, {"accept": null}]}}},
            {"add": {"rule": {"expr": [{"match": {"left": {"payload": {"field": "daddr"}}}}, {"reject": null}]}}},
            {"add": {"rule": {"expr": [{"reject": null}]}}},
        ]});
        let arguments = ["--foreground", "--tcp-ns", "none", "--no-map-gw", "--netns", "{network}"];
        json!({"steps": [
            given("load_ruleset", json!({"nft": "/usr/sbin/nft", "ruleset": ruleset.to_string()})),
            given("attach_link", json!({"name": "plsd0", "carrier": {"program": {"path": "/usr/bin/pasta", "arguments": arguments}}})),
            given("link_up", json!({"addresses": []})),
            given("add_route", json!({"net": "10.0.0.0/8", "kind": {"link": {"router": "198.18.0.2"}}})),
            given("add_route", json!({"net": "10.0.0.0/24", "kind": "prohibit"})),
            given("private_mounts", json!({})),
        ]})
    }

    #[test]
    fn every_defect_changes_a_plan_with_a_link() {
        let mutants = all(&plan());
        assert_eq!(mutants.len(), DEFECTS.len());
        assert!(mutants.iter().all(|mutant| mutant.plan != plan()));
    }

    #[test]
    fn without_a_link_there_are_none() {
        let mut plan = plan();
        plan["steps"].as_array_mut().unwrap().remove(1);
        assert!(all(&plan).is_empty());
    }

    #[test]
    fn each_does_what_it_says() {
        let of =
            |name: &str| all(&plan()).into_iter().find(|mutant| mutant.name.ends_with(name)).unwrap().plan;
        let flags =
            of("default-flags").pointer("/steps/1/step/attach_link/carrier/program/arguments").cloned();
        assert_eq!(flags, Some(json!(["--foreground", "--netns", "{network}"])));
        let open = of("blocked-ranges-open");
        assert_eq!(open["steps"].as_array().unwrap().len(), 5);
        assert_eq!(
            open.pointer("/steps/0/step/load_ruleset/ruleset")
                .unwrap()
                .as_str()
                .unwrap()
                .matches("reject")
                .count(),
            1
        );
        let late = of("rules-late");
        assert!(late.pointer("/steps/4/step/load_ruleset").is_some(), "{late}");
        let all_routed = of("nothing-filtered");
        assert!(all_routed.to_string().contains("0.0.0.0/0") && !all_routed.to_string().contains("prohibit"));
    }
}
