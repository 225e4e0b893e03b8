//! What a document knows beside its policy: names, places, and what is absent.

use palisade_policy::{Clause, Document, Location, Policy, builtin_names};
use rstest::rstest;

fn parse(text: &str) -> Document {
    Document::parse("some/where/test.yaml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

#[rstest]
#[case("")]
#[case("# a comment\n")]
#[case("---\n")]
#[case("{}\n")]
#[case("version: 1\n")]
#[case("filesystem: {}\nprocess: {}\nnetwork: {}\nresources: {}\nenvironment: {}\n")]
#[case("filesystem: { read_only: [] }\nnetwork: { allow: [] }\nenvironment: { pass: [], set: {} }\n")]
#[case("\r\n# with carriage returns\r\nversion: 1\r\n")]
fn what_is_absent_is_strict(#[case] text: &str) {
    assert_eq!(parse(text).policy, Policy::strictest("test"));
}

#[test]
fn an_empty_allowlist_allows_nothing() {
    let policy = parse("network: { mode: allowlist }").policy;
    assert!(policy.network.allow.is_empty());
}

#[rstest]
#[case("policies/strict.yaml", "strict")]
#[case("strict", "strict")]
#[case("-", "-")]
#[case("bell\x07.yaml", "bell\\u{7}")]
fn a_policy_without_a_name_has_that_of_its_file(#[case] source: &str, #[case] name: &str) {
    assert_eq!(Document::parse(source, "").unwrap().policy.name, name);
}

#[test]
fn there_are_two_builtin_policies() {
    assert_eq!(builtin_names().collect::<Vec<_>>(), ["default", "agent"]);
    assert!(Document::builtin("other").is_none());
    for name in builtin_names() {
        assert_eq!(Document::builtin(name).unwrap().policy.name, name);
    }
}

#[rstest]
#[case("network", 5, 3)]
#[case("network.mode", 5, 9)]
#[case("network.allow[1]", 8, 7)]
#[case("network.allow[1].ports", 8, 7)]
#[case("network.metadata", 5, 3)]
#[case("filesystem.read_only[1]", 3, 18)]
#[case("filesystem.tmp", 3, 3)]
#[case("environment.set.CI", 9, 23)]
fn every_clause_has_its_place(#[case] clause: &'static str, #[case] line: usize, #[case] column: usize) {
    let document = parse(
        "# ünïcode before it\nfilesystem:\n  read_only: [a, b]\nnetwork:\n  mode: allowlist\n  allow:\n    \
         - { host: a.org, ports: [1] }\n    - { host: b.org, ports: [1] }\nenvironment: { set: { CI: x } }\n",
    );
    assert_eq!(document.location(&Clause::new(clause)), Some(Location { line, column }));
}

#[test]
fn an_absent_clause_has_no_place() {
    let document = parse("version: 1");
    assert_eq!(document.location(&Clause::new("network.mode")), None);
    assert_eq!(document.location(&Clause::new("")), None);
}

#[rstest]
#[case("022", "022")]
#[case("1_000", "1_000")]
#[case("yes", "yes")]
#[case("!!str 1", "1")]
#[case("!!binary aGk=", "aGk=")]
#[case("'null'", "null")]
#[case("\"a\\nb\"", "a\nb")]
fn text_is_what_is_typed(#[case] typed: &str, #[case] value: &str) {
    let policy = parse(&format!("environment: {{ set: {{ A: {typed} }} }}")).policy;
    assert_eq!(policy.environment.set["A"], value);
}

#[rstest]
#[case("1")]
#[case("-1")]
#[case("0x10")]
#[case("1.5")]
#[case("1e3")]
#[case(".NaN")]
#[case("1e999")]
#[case("true")]
#[case("~")]
#[case("null")]
fn what_yaml_takes_for_something_else_is_no_text(#[case] typed: &str) {
    let text = format!("environment: {{ set: {{ A: {typed} }} }}");
    assert_eq!(Document::parse("test", &text).unwrap_err().len(), 1);
}

#[test]
fn published_ports_are_counted() {
    let with = |count: usize| {
        let entries: Vec<String> =
            (1..=count).map(|port| format!("{{ port: {port}, to: \"127.0.0.1:{port}\" }}")).collect();
        Document::parse("test", &format!("network: {{ mode: open, publish: [{}] }}", entries.join(", ")))
    };
    let most = palisade_policy::limits::MAX_PUBLISHED;
    assert_eq!(with(most).expect("as many as are allowed").policy.network.publish.len(), most);
    let problems = with(most + 1).unwrap_err().to_string();
    assert!(problems.contains("more than 64 published ports"), "{problems}");
}
