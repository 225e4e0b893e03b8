//! Each form read back by a parser that knows nothing of the writer, and met with hostile texts.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;

/// What would be markup, a fence, a directive, the end of a string or a command to a terminal.
const HOSTILE: &str = "<script>alert(1)</script>\x1b[31m\x07\r\n```\n</details># SKIP | `y` ]]> --> \"'&amp;\\ \u{202e}\u{e9}\0";

/// Every text that a policy, a workload or a host could have a hand in is hostile, in a case of each verdict.
pub(super) fn hostile() -> Report {
    let mut report = mixed();
    let evil = || HOSTILE.to_owned();
    for text in [
        &mut report.subject.runtime,
        &mut report.subject.policy,
        &mut report.subject.policy_argument,
        &mut report.subject.host,
    ] {
        *text = evil();
    }
    report.subject.runtime_version = Some(evil());
    report.subject.host_facts = serde_json::json!({ evil(): [evil()] });
    report.untested = BTreeMap::from([(evil(), evil())]);
    report.lapsed = BTreeMap::from([(evil(), evil())]);
    for case in &mut report.cases {
        case.id.push('/');
        for text in [
            &mut case.id,
            &mut case.clause,
            &mut case.requirement,
            &mut case.operation,
            &mut case.expected,
            &mut case.baseline,
        ] {
            text.push_str(HOSTILE);
        }
        case.location = Some(format!("{HOSTILE}:12"));
        case.workload = vec![evil()];
        case.canary = Some(CanaryReport { canary: evil(), heard: Some(evil()), alive: Err(evil()) });
        let mut seen = Observation::of(Seen::reported(HOSTILE));
        (seen.setup, seen.control, seen.stderr) = (Err(evil()), Err(evil()), evil());
        case.inside = Some(seen);
        case.outside = Some(Observation::nothing(Unseen::NotStarted(evil())));
        case.verdict = match &case.verdict {
            Verdict::Held => Verdict::Held,
            Verdict::Breached(_) => Verdict::Breached(evil()),
            Verdict::OverBlocked(_) => Verdict::OverBlocked(evil()),
            Verdict::Inconclusive(_) => Verdict::Inconclusive(Gap::Control(evil())),
            Verdict::Unsupported(_) => Verdict::Unsupported(evil()),
            Verdict::KnownDeviation(_) => Verdict::KnownDeviation(evil()),
            Verdict::UnexpectedPass(_) => Verdict::UnexpectedPass(evil()),
        };
    }
    report
}

/// What `program`, a script of Python, prints of `input`.
fn python(program: &str, input: &str) -> String {
    let mut child = Command::new("python3")
        .args(["-I", "-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "python3 refuses:\n{input}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn no_form_passes_on_a_control_byte() {
    for (extension, form) in Form::EXTENSIONS {
        // The text form has styles of its own, which its stream strips where they are not wanted.
        let text = if form == Form::Text { plain(&hostile()) } else { written(form, &hostile()) };
        assert!(text.contains("alert(1)"), "{extension}: the evidence is missing");
        let bad: Vec<char> = text.chars().filter(|c| c.is_control() && *c != '\n').collect();
        assert!(bad.is_empty(), "{extension}: {bad:?} in\n{text}");
        if form != Form::Json {
            assert!(text.is_ascii(), "{extension}: {text}");
        }
    }
}

#[test]
fn no_text_becomes_markup() {
    let junit = written(Form::Junit, &hostile());
    assert!(!junit.contains("<script") && junit.contains("&lt;script"), "{junit}");
    let markdown = written(Form::Markdown, &hostile());
    let mut fenced = false;
    for line in markdown.lines() {
        if line.starts_with("```") {
            // A fence opens with its word and closes bare: no line of evidence can be one.
            assert_eq!(line, if fenced { "```" } else { "```text" });
            fenced = !fenced;
        } else if !fenced {
            assert!(!line.contains("<script") || line.contains("\\<script"), "{line}");
            assert!(!line.starts_with('#') || !line.contains("alert"), "{line}");
        }
    }
    assert!(!fenced);
    assert_eq!(markdown.matches("\n<details>").count(), markdown.matches("\n</details>\n").count());
}

/// Every tag that is opened is closed in its place, and text is never one of them.
#[test]
fn html_is_what_another_parser_reads() {
    const READ: &str = "
import sys
from html.parser import HTMLParser
class Reader(HTMLParser):
    open, tags, text = [], set(), ''
    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        assert not [name for name, _ in attributes if name.startswith('on') or name in ('src', 'href')], attributes
        if tag not in ('meta', 'br'): self.open.append(tag)
    def handle_endtag(self, tag): assert self.open.pop() == tag, tag
    def handle_data(self, data): self.text += data
reader = Reader()
reader.feed(sys.stdin.read())
reader.close()
assert reader.open == [], reader.open
print(sorted(reader.tags))
print('<script>alert(1)</script>' in reader.text)
";
    let read = |report: &Report| {
        let said = python(READ, &written(Form::Html, report));
        let (tags, is_text) = said.trim_end().split_once('\n').unwrap();
        (tags.to_owned(), is_text.to_owned())
    };
    let mut harmless = mixed();
    harmless.against = compared().against;
    let (tags, _) = read(&harmless);
    assert!(tags.contains("'details'") && tags.contains("'table'"), "{tags}");
    assert_eq!(read(&Report { against: harmless.against, ..hostile() }), (tags, "True".to_owned()));
}

#[test]
fn junit_is_what_another_parser_reads() {
    const READ: &str = "
import sys, xml.etree.ElementTree as tree
root = tree.fromstring(sys.stdin.buffer.read())
assert root.tag == 'testsuites'
total = {'tests': 0, 'failures': 0, 'errors': 0}
for suite in root:
    assert suite.tag == 'testsuite' and suite.get('name')
    cases = suite.findall('testcase')
    counted = {'tests': len(cases)}
    for name, tag in (('failures', 'failure'), ('errors', 'error'), ('skipped', 'skipped')):
        counted[name] = len(suite.findall('testcase/' + tag))
    for name, count in counted.items():
        assert int(suite.get(name)) == count, (suite.attrib, name, count)
        if name in total: total[name] += count
    for case in cases:
        assert case.get('classname') and float(case.get('time')) >= 0 and len(case) <= 1
        how = case[0].tag + ': ' + case[0].get('message') if len(case) else 'passed'
        print(case.get('name'), how)
for name, count in total.items():
    assert int(root.get(name)) == count, (root.attrib, name, count)
";
    let read = python(READ, &written(Form::Junit, &mixed()));
    assert_eq!(
        read,
        "mnt/chroot passed\n\
         mnt/fsopen skipped: known deviation: not yet filtered (somebody, https://example.org/1)\n\
         mnt/mount failure: breached: expected denied (EPERM, EACCES, ENOSYS or SIGSYS), saw EFAULT\n\
         mnt/move-mount passed\n\
         mnt/umount2 error: inconclusive: control failed: 2 (sys): EPERM\n\
         net/tcp/v4 failure: breached: the canary noticed it: tcp 192.0.2.1:80\n\
         sys/abi/x32 skipped: unsupported: no x32 here\n\
         work/python failure: over-blocked: expected exactly \"42\\n\", saw exit code 1\n\
         net/old/* failure: expired on 2026-01-31, somebody answers for it\n"
    );
    let read = python(READ, &written(Form::Junit, &hostile()));
    assert!(read.contains("breached: <script>alert(1)</script>\\x1b[31m\\x07"), "{read}");
}

/// A line of TAP is a test, or belongs to the YAML block of the test before it, which is YAML.
#[test]
fn tap_is_what_another_parser_reads() {
    for report in [mixed(), hostile()] {
        let tap = written(Form::Tap, &report);
        let mut lines = tap.lines();
        assert_eq!(lines.next(), Some("TAP version 14"));
        assert_eq!(lines.next(), Some(format!("1..{}", report.cases.len() + report.lapsed.len()).as_str()));
        let (mut tests, mut blocks, mut block) = (Vec::new(), 0, None::<String>);
        for line in lines {
            match (&mut block, line) {
                (None, "  ---") => block = Some(String::new()),
                (Some(text), "  ...") => {
                    let read: BTreeMap<String, serde_json::Value> = serde_saphyr::from_str(text).unwrap();
                    for key in ["verdict", "severity", "requirement", "inside", "reproduce"] {
                        assert!(read.contains_key(key), "{key} in {text}");
                    }
                    blocks += 1;
                    block = None;
                }
                (Some(text), line) => {
                    let inner = line.strip_prefix("  ").expect("an indented line");
                    text.push_str(inner);
                    text.push('\n');
                }
                (None, line) => tests.push(line),
            }
        }
        assert!(block.is_none());
        for (number, (line, case)) in (1..).zip(tests.iter().zip(&report.cases)) {
            let kind = case.verdict.kind();
            let ok = matches!(kind, Kind::Held | Kind::Unsupported);
            let start = format!("{} {number} - ", if ok { "ok" } else { "not ok" });
            assert!(line.starts_with(&start), "{line}");
            // The first number sign that is not escaped begins a directive.
            let directive = line.match_indices('#').find(|(at, _)| !line[..*at].ends_with('\\'));
            let word = directive.map(|(at, _)| line[at..].split(' ').take(2).collect::<Vec<_>>().join(" "));
            let expected = match kind {
                Kind::Unsupported => Some("# SKIP"),
                Kind::KnownDeviation => Some("# TODO"),
                _ => None,
            };
            assert_eq!(word.as_deref(), expected, "{line}");
        }
        assert_eq!((tests.len(), blocks), (report.cases.len() + 1, 5));
        let last = tests.last().unwrap();
        assert!(last.starts_with(&format!("not ok {} - known deviation ", tests.len())), "{last}");
    }
}

#[test]
fn a_summary_never_outgrows_what_is_shown() {
    let mut report = mixed();
    let case = report.cases.iter().find(|case| case.id == "mnt/mount").unwrap().clone();
    report.cases = vec![case; 5_000];
    let text = written(Form::Markdown, &report);
    assert!(text.len() < 1024 * 1024 && text.len() > 512 * 1024, "{}", text.len());
    let shown = text.matches("<details>").count();
    assert!(text.contains(&format!("and {} more, for which there is no room here", 5_000 - shown)));
}

/// What the standard and GitHub require of each member, and nothing but what is wrong as a result.
#[test]
fn sarif_has_what_is_required() {
    for report in [mixed(), hostile()] {
        let log: serde_json::Value = serde_json::from_str(&written(Form::Sarif, &report)).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let driver = &run["tool"]["driver"];
        assert!(driver["name"].is_string() && run["invocations"][0]["executionSuccessful"].is_boolean());
        let results = run["results"].as_array().unwrap();
        let levels: Vec<_> = results.iter().map(|result| result["level"].as_str().unwrap()).collect();
        assert_eq!(levels, ["error", "error", "warning"]);
        for result in results {
            let rule = &driver["rules"][usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
            assert!(result["ruleId"].is_string() && rule["id"] == result["ruleId"]);
            let tags: Vec<&str> = rule["properties"]["tags"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|tag| tag.as_str())
                .collect();
            assert!(tags.len() > 4 && tags.len() <= 10, "{tags:?}");
            let has_weakness = tags.iter().any(|tag| tag.starts_with("external/cwe/cwe-"));
            assert_eq!(has_weakness, result["level"] == "error", "{tags:?}");
            assert!(rule["shortDescription"]["text"].is_string() && rule["help"]["text"].is_string());
            assert!(result["message"]["text"].as_str().is_some_and(|text| text.len() <= 1024));
            let place = &result["locations"][0]["physicalLocation"];
            assert_eq!(place["region"]["startLine"], 12);
            let uri = place["artifactLocation"]["uri"].as_str().unwrap();
            assert!(uri.chars().all(|c| c.is_ascii_alphanumeric() || "/.-_~%".contains(c)), "{uri}");
        }
        assert_eq!(run["originalUriBaseIds"].is_object(), report.subject.policy_argument == "default");
        let told = run["invocations"][0]["toolExecutionNotifications"].as_array().unwrap();
        // What is inconclusive, and a known deviation that has lapsed.
        assert_eq!(told.len(), 2);
    }
}

/// Of a policy that is part of the program the place is a line of a file in its source.
#[test]
fn sarif_of_a_builtin_policy_names_a_file_that_exists() {
    for name in ["default", "agent"] {
        let mut report = mixed();
        report.subject.policy_argument = name.to_owned();
        let document = palisade_policy::Document::builtin(name).unwrap();
        let (_, last) = document.locations.iter().max_by_key(|(_, place)| place.line).unwrap();
        for case in &mut report.cases {
            case.location = Some(format!("{name}:{}", last.line));
        }
        let log: serde_json::Value = serde_json::from_str(&written(Form::Sarif, &report)).unwrap();
        let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uriBaseId"], "PALISADE");
        let path = place["artifactLocation"]["uri"].as_str().unwrap();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let text = std::fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(text, document.text);
        assert!(text.lines().count() as u64 >= place["region"]["startLine"].as_u64().unwrap());
    }
}

#[test]
fn what_carried_the_network_is_told_and_reproduced() {
    let mut report = mixed();
    report.subject.backend = Some("veth");
    for form in [Form::Json, Form::Junit] {
        assert!(written(form, &report).contains("veth"), "{form:?}");
    }
    let again = "palisade verify --policy default --backend veth --only mnt/mount";
    assert!(written(Form::Markdown, &report).contains(again));
    for case in &mut report.cases {
        case.tier = Tier::Destructive;
    }
    let again = "palisade verify --policy default --backend veth --tier destructive --only mnt/mount";
    assert!(written(Form::Markdown, &report).contains(again));
    report.subject.backend = Some("gateway");
    assert!(!written(Form::Markdown, &report).contains("--backend"));
}

#[test]
fn a_comparison_is_in_every_form_that_has_a_place_for_it() {
    for form in [Form::Text, Form::Json, Form::Junit, Form::Html, Form::Markdown] {
        let text = written(form, &compared());
        assert!(text.contains("old.json") && !written(form, &mixed()).contains("old.json"), "{text}");
    }
    let counts = "2 new, 1 fixed, 1 changed, 2 added, 1 gone, 2 as before";
    for form in [Form::Junit, Form::Html, Form::Markdown] {
        assert!(written(form, &compared()).contains(counts), "{form:?}");
    }
    let markdown = written(Form::Markdown, &compared());
    let lines: Vec<&str> =
        markdown.lines().skip_while(|line| *line != "### Against old.json").skip(4).take(7).collect();
    assert_eq!(
        lines,
        [
            "- new mnt/mount: breached, was held",
            "- new net/tcp/v4: breached, was not there",
            "- fixed mnt/chroot: held, was breached",
            "- changed mnt/umount2: inconclusive, was breached",
            "- added mnt/fsopen: known deviation, was not there",
            "- added sys/abi/x32: unsupported, was not there",
            "- gone env/\\\\x1b\\[2Jold: not there, was breached",
        ]
    );
}
