//! A hostile policy file costs little, whatever it holds: it is refused in time and memory that its size allows, and
//! nothing of it reaches a terminal unescaped.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use palisade_policy::{Document, limits};
use proptest::prelude::*;
use rstest::rstest;

/// How much longer than an honest policy of [`HONEST`] rules a hostile text may take: far more than any of them does. A
/// parser that is quadratic in a megabyte takes many thousands of times as long.
const PATIENCE: u32 = 500;
const HONEST: usize = limits::MAX_RULES / 8;

/// The messages for `text`, parsed and rendered within the [`PATIENCE`] that an honest policy of the same moment sets.
fn refusal(text: &str) -> String {
    let before = honest();
    let start = Instant::now();
    let problems = Document::parse("hostile.yaml", text).expect_err("refused").render(true);
    let took = start.elapsed();
    let yardstick = before.max(honest());
    assert!(took < yardstick * PATIENCE, "took {took:?}, {HONEST} rules {yardstick:?}");
    problems
}

/// How long an honest policy takes right now.
fn honest() -> Duration {
    let text = rule_list(HONEST);
    let start = Instant::now();
    assert!(Document::parse("long.yaml", &text).is_ok());
    start.elapsed()
}

fn rule_list(rules: usize) -> String {
    let mut text = "network:\n  mode: allowlist\n  allow:\n".to_owned();
    for index in 0..rules {
        writeln!(text, "    - {{ host: h{index}.example.org, ports: [443], protocol: tcp }}")
            .expect("a string takes everything");
    }
    text
}

fn repeated(piece: &str, bytes: usize) -> String {
    piece.repeat(bytes / piece.len())
}

#[test]
fn ten_megabytes_are_refused_by_size() {
    let problems = refusal(&repeated("# nothing but comments\n", 10_000_000));
    assert!(problems.contains("bytes long, more than 1048576"), "{problems}");
}

#[test]
fn the_largest_file_is_read() {
    let mut text = "# padding\n".repeat(limits::MAX_BYTES / 10);
    text.push_str(&" ".repeat(limits::MAX_BYTES - text.len()));
    assert_eq!(text.len(), limits::MAX_BYTES);
    assert!(Document::parse("large.yaml", &text).is_ok());
    text.push('\n');
    assert!(refusal(&text).contains("1048577 bytes long"));
}

#[test]
fn the_largest_rule_list_is_read() {
    let mut text = rule_list(limits::MAX_RULES);
    let document = Document::parse("long.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(document.policy.network.allow.len(), limits::MAX_RULES);
    text.push_str("    - { host: one-more.example.org, ports: [443] }\n");
    assert!(refusal(&text).contains("more than 4096 rules"));
}

#[rstest]
#[case::brackets("[".repeat(40_000), "nested too deeply")]
#[case::braces("{a: ".repeat(40_000), "nested too deeply")]
#[case::question_marks("? ".repeat(40_000), "nested too deeply")]
#[case::dashes("- ".repeat(40_000), "nested too deeply")]
#[case::indentation((0..600).map(|depth| format!("{}k:\n", " ".repeat(depth))).collect(), "nested too deeply")]
#[case::unknown_keys((0..200_000).map(|key| format!("{key:x}x:\n")).take(80_000).collect(), "more YAML")]
#[case::unknown_keys_within_budget((0..20_000).map(|key| format!("k{key}: 1\n")).collect(), "19900 more problems")]
#[case::one_key_many_times(repeated("version: 1\n", 500_000), "problems are not shown")]
#[case::one_long_line(format!("filesystem: {{ hidden: [{}] }}", repeated("a,", 1_000_000)), "more YAML")]
#[case::one_long_word(format!("name: {}", repeated("x", 1_000_000)), "not a policy name")]
#[case::one_long_key(format!("? {}\n: 1\n", repeated("x", 1_000_000)), "unknown key")]
#[case::control_characters(repeated("\x1b", 1_000_000), "999900 more problems")]
#[case::long_syscall_names(
    format!("process: {{ syscalls: {{ deny: [{}] }} }}", (0..4000).map(|n| format!("no_such_call_{n}, ")).collect::<String>()),
    "3900 more problems")]
#[case::anchors((0..5000).map(|n| format!("k{n}: &a{n} x\n")).collect(), "aliases expand")]
#[case::aliases(format!("a: &a x\nb: [{}]\n", repeated("*a, ", 200_000)), "aliases expand")]
#[case::alias_of_much(format!("a: &a [{}]\nb: [{}]\n", repeated("x, ", 9_000), repeated("*a, ", 800)), "aliases expand")]
#[case::documents(repeated("---\n", 400_000), "more than one YAML document")]
fn hostile_text_is_refused_in_time(#[case] text: String, #[case] message: &str) {
    assert!(text.len() <= limits::MAX_BYTES, "{} bytes are refused by size alone", text.len());
    let problems = refusal(&text);
    assert!(problems.contains(message), "{}", &problems[..problems.len().min(2000)]);
}

/// Whether a terminal can show `text` without obeying it.
fn is_safe(text: &str) -> bool {
    text.chars().all(|character| {
        character == '\n' || !(character.is_control() || ('\u{202a}'..='\u{202e}').contains(&character))
    })
}

/// Pieces of policies, of YAML and of mischief.
fn pieces() -> impl Strategy<Value = String> {
    let pieces = vec![
        "version: 1",
        "network:",
        "filesystem:",
        "read_only:",
        "allow:",
        "mode: allowlist",
        "host: a.org",
        "ports: [443]",
        "cidr: ::/0",
        "- ",
        "  ",
        "    ",
        "\n",
        "\n",
        "\n",
        "{",
        "}",
        "[",
        "]",
        ", ",
        ": ",
        "\"",
        "'",
        "&a ",
        "*a",
        "!!str ",
        "!x",
        "? ",
        "| \n",
        "> \n",
        "# ",
        "---\n",
        "~",
        "<<: ",
        "0x1",
        "1e9",
        "\t",
        "\x1b",
        "\u{202e}",
        "\r",
        "ü",
        "\\",
        "%",
        "environment:",
        "set:",
        "pass:",
        "LD_PRELOAD",
        "resources:",
        "memory: 1MB",
        "cpus: 0.5",
        "...",
        "null",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_text_panics_or_reaches_the_terminal(text in pieces()) {
        if let Err(problems) = Document::parse("hostile\x1b.yaml", &text) {
            let plain = problems.to_string();
            prop_assert!(is_safe(&plain), "{:?}", plain);
            prop_assert!(problems.len() > 0);
            let places: Vec<_> = problems.iter().map(|problem| problem.location).collect();
            prop_assert!(places.is_sorted());
        }
    }

    #[test]
    fn no_damage_to_a_policy_panics(at in 0usize..2000, length in 0usize..20, piece in pieces()) {
        let text = include_str!("../../../fixtures/policies/valid/everything.yaml");
        let start = text.floor_char_boundary(at.min(text.len()));
        let end = text.floor_char_boundary((start + length).min(text.len()));
        let damaged = format!("{}{piece}{}", &text[..start], &text[end..]);
        if let Err(problems) = Document::parse("damaged.yaml", &damaged) {
            prop_assert!(is_safe(&problems.to_string()));
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Err(problems) = Document::parse_bytes("bytes.yaml", &bytes) {
            prop_assert!(is_safe(&problems.to_string()));
        }
    }
}
