use std::fmt::Write as _;

use rstest::rstest;

use super::*;
use crate::run::declare::NO_MEANS;
use crate::verdict::Kind;

/// A report of `verify` with these probes, each as `id clause verdict why`.
fn verified(label: &str, runtime: &str, probes: &[[&str; 4]]) -> Input {
    let mut text = format!(
        r#"{{"schema":"palisade.verify/1","subject":{{"version":"1","runtime":"{runtime}","runtime_version":"{runtime} 2",
        "entry":"run","policy":"default","policy_argument":"default","host":"Linux <6>, root","host_facts":null,"repeat":1}},"probes":["#
    );
    for (number, [id, clause, verdict, why]) in probes.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(
            text,
            r#"{comma}{{"id":"{id}","clause":"{clause}","verdict":"{verdict}","why":"{why}","severity":"low"}}"#
        );
    }
    read::parse("report", label, (text + "]}").as_bytes()).unwrap()
}

fn surveyed(label: &str, landlock: &str, clause: &str, status: &str) -> Input {
    let text = format!(
        r#"{{"schema":"palisade.host/1","findings":[{{"id":"landlock","group":"files","status":"{landlock}","value":"7"}}],
        "policy":{{"name":"default","outcome":"enforced","clauses":[{{"clause":"{clause}","status":"{status}"}}]}}}}"#
    );
    read::parse("host", label, text.as_bytes()).unwrap()
}

fn runtimes() -> Vec<Input> {
    let no_means = format!("{NO_MEANS} process.syscalls: it has no filter");
    vec![
        verified("a", "none", &[["fs/a", "filesystem.hidden[0]", "breached", "it is <there>"]]),
        verified(
            "b",
            "jail",
            &[
                ["fs/a", "filesystem.hidden[0]", "held", ""],
                ["sys/a", "process.syscalls", "unsupported", &no_means],
                ["sys/b", "process.syscalls", "held", ""],
                ["sys/c", "process.syscalls", "unsupported", "without a sandbox this host shows ENOSYS"],
            ],
        ),
        verified("c", "palisade", &[["fs/a", "filesystem.hidden[0]", "held", ""]]),
        Input { absent: [("runsc".to_owned(), "not found".to_owned())].into(), ..Input::default() },
    ]
}

fn shown(form: Form, matrix: &Matrix) -> String {
    let mut out = Vec::new();
    form.write(&mut out, matrix, None).unwrap();
    String::from_utf8(out).unwrap()
}

#[rstest]
#[case::text("text", Form::Text)]
#[case::markdown("markdown", Form::Markdown)]
#[case::html("html", Form::Html)]
#[case::json("json", Form::Json)]
fn runtimes_side_by_side(#[case] name: &str, #[case] form: Form) {
    let matrix = Matrix::new(Axis::Runtime, runtimes()).unwrap();
    let text = shown(form, &matrix).replace(include_str!("../report/html.css"), "");
    insta::assert_snapshot!(format!("runtimes_{name}"), text);
}

#[test]
fn the_order_of_the_files_does_not_matter() {
    let forward = Matrix::new(Axis::Runtime, runtimes()).unwrap();
    let backward = Matrix::new(Axis::Runtime, runtimes().into_iter().rev()).unwrap();
    assert_eq!(forward, backward);
    assert_eq!(forward.titles(), ["palisade", "jail", "none"]);
}

#[test]
fn a_matrix_is_read_back() {
    let matrix = Matrix::new(Axis::Host, runtimes()).unwrap();
    let again = read::parse("m", "m", shown(Form::Json, &matrix).as_bytes()).unwrap();
    assert_eq!(Matrix::new(Axis::Host, [again]).unwrap(), matrix);
}

#[test]
fn shards_are_one_subject_and_contradictions_are_none() {
    let part = |id, verdict| verified("x", "jail", &[[id, "filesystem", verdict, ""]]);
    let whole = Matrix::new(Axis::Runtime, [part("fs/a", "held"), part("fs/b", "held")]).unwrap();
    assert_eq!(whole.subjects.len(), 1);
    assert_eq!(whole.subjects[0].clauses["filesystem"].brief(), "2/2");
    let twice = Matrix::new(Axis::Runtime, [part("fs/a", "held"), part("fs/a", "breached")]);
    assert_eq!(
        twice.unwrap_err().to_string(),
        "two reports of the runtime jail on one host have different verdicts of the probe fs/a"
    );
}

#[rstest]
#[case::all_held(&[(Kind::Held, "")], Standing::Held, "1/1")]
#[case::a_breach_first(&[(Kind::Held, ""), (Kind::Breached, "x"), (Kind::Inconclusive, "y")], Standing::Breached, "1/3 1b 1?")]
#[case::prevented(&[(Kind::Held, ""), (Kind::OverBlocked, "x")], Standing::OverBlocked, "1/2 1o")]
#[case::not_told(&[(Kind::Held, ""), (Kind::Inconclusive, "x")], Standing::Inconclusive, "1/2 1?")]
#[case::part(&[(Kind::Held, ""), (Kind::Unsupported, "the runtime has no means for x: y")], Standing::InPart, "1/2 1-")]
#[case::no_means(&[(Kind::Unsupported, "the runtime says that it enforces x only in part here: y")], Standing::NoMeans, "0/1 1-")]
#[case::not_here(&[(Kind::Held, ""), (Kind::Unsupported, "no x32 here")], Standing::Held, "1/1")]
#[case::nothing(&[(Kind::Unsupported, "no x32 here")], Standing::Nothing, "")]
#[case::known(&[(Kind::KnownDeviation, "as agreed")], Standing::Known, "0/1 1k")]
fn what_a_cell_comes_to(#[case] verdicts: &[(Kind, &str)], #[case] standing: Standing, #[case] brief: &str) {
    let mut cell = Cell::default();
    for (number, (kind, why)) in verdicts.iter().enumerate() {
        cell.put(format!("p/{number}"), *kind, (*why).to_owned());
    }
    assert_eq!((cell.standing(), cell.brief().as_str()), (standing, brief));
}

#[test]
fn many_hosts_that_say_the_same_are_one_column() {
    let one = |number: usize| {
        let verdict = if number == 7 { "breached" } else { "held" };
        verified(&format!("h{number:03}"), "palisade", &[["fs/a", "filesystem", verdict, ""]])
    };
    let matrix = Matrix::new(Axis::Host, (0..40).map(one)).unwrap();
    let columns = matrix.columns();
    let titles: Vec<&str> = columns.iter().map(|column| column.title.as_str()).collect();
    assert_eq!(titles, ["h000 and 38 more", "h007"]);
    assert_eq!(columns[0].members.len(), 39);
    let few = Matrix::new(Axis::Host, (0..7).map(one)).unwrap();
    assert_eq!(few.columns().len(), 7);
}

#[rstest]
#[case::kept("enforced", "held", false)]
#[case::not_kept("enforced", "breached", true)]
#[case::refused("refused", "inconclusive", false)]
#[case::said_refused("refused", "held", true)]
#[case::prevented("downgraded", "over_blocked", true)]
#[case::as_said("downgraded", "held", false)]
fn a_host_that_says_otherwise(#[case] predicted: &str, #[case] verdict: &str, #[case] otherwise: bool) {
    let inputs = [
        surveyed("h", "available", "filesystem", predicted),
        verified("h", "palisade", &[["fs/a", "filesystem", verdict, ""]]),
        // What another runtime does there was not said.
        verified("h", "jail", &[["fs/a", "filesystem", "breached", ""]]),
    ];
    let matrix = Matrix::new(Axis::Host, inputs).unwrap();
    assert_eq!(!matrix.disagreements().is_empty(), otherwise, "{:?}", matrix.disagreements());
    assert_eq!(shown(Form::Text, &matrix).contains("Otherwise than the host said"), otherwise);
}

/// Entries of one clause are one cell; the least that was said of any counts.
#[test]
fn what_was_said_of_entries() {
    let text = |first: &str, second: &str| {
        format!(
            r#"{{"schema":"palisade.host/1","policy":{{"name":"default","clauses":[
            {{"clause":"filesystem.read_only[0]","status":"{first}"}},{{"clause":"filesystem.read_only[1]","status":"{second}"}}]}}}}"#
        )
    };
    for (first, second, least) in [
        ("enforced", "downgraded", "downgraded"),
        ("refused", "downgraded", "refused"),
        ("enforced", "enforced", "enforced"),
    ] {
        for text in [text(first, second), text(second, first)] {
            let input = read::parse("h", "h", text.as_bytes()).unwrap();
            assert_eq!(input.hosts["h"].predicted["default"]["filesystem.read_only"], least);
        }
    }
}

#[test]
fn hosts_by_what_they_say() {
    let inputs = [
        surveyed("b", "unavailable", "x", "y"),
        surveyed("a", "available", "x", "y"),
        surveyed("c", "available", "x", "y"),
    ];
    let matrix = Matrix::new(Axis::Host, inputs).unwrap();
    let text = shown(Form::Text, &matrix);
    assert!(text.contains("  landlock\n    available; 7 (2): a, c\n    unavailable; 7 (1): b\n"), "{text}");
}

#[test]
fn changes_between_two_sets() {
    let then = [
        surveyed("a", "available", "x", "y"),
        verified(
            "a",
            "palisade",
            &[["fs/a", "filesystem", "held", ""], ["fs/b", "filesystem", "breached", ""]],
        ),
        verified("gone", "palisade", &[["fs/a", "filesystem", "held", ""]]),
    ];
    let now = [
        surveyed("a", "unavailable", "x", "y"),
        verified(
            "a",
            "palisade",
            &[["fs/a", "filesystem", "breached", ""], ["fs/b", "filesystem", "held", ""]],
        ),
    ];
    let matrix = |inputs: &[Input]| Matrix::new(Axis::Host, inputs.iter().cloned()).unwrap();
    let changes = Regressions::between(&matrix(&then), &matrix(&now));
    assert!(changes.any());
    assert_eq!(
        changes.lines(),
        [
            "palisade, default, a: new: fs/a breached, was held",
            "palisade, default, a: fixed: fs/b held, was breached",
            "a: landlock unavailable, was available",
            "palisade, default, gone: is not there any more",
        ]
    );
    assert!(!Regressions::between(&matrix(&now), &matrix(&then[..2])).lines().is_empty());
    assert!(!Regressions::between(&matrix(&then), &matrix(&then)).any());
    assert_eq!(Regressions::between(&matrix(&then), &matrix(&then)).lines(), [""; 0]);
}

#[rstest]
#[case::first(r#"{"schema":"palisade.host/1","policy":null}"#)]
#[case::spaced(" {\n \"schema\" : \"palisade.host/1\" }")]
#[case::last(r#"{"policy":null,"schema":"palisade.host/1"}"#)]
#[case::escaped(r#"{"schema":"palisade\u002ehost/1"}"#)]
fn the_schema_may_stand_anywhere(#[case] text: &str) {
    assert_eq!(read::parse("h", "h", text.as_bytes()).unwrap().hosts.len(), 1);
}

#[rstest]
#[case::not_json("{", "not a report")]
#[case::another_schema(r#"{"schema":"x/1"}"#, "its schema is \"x/1\"")]
#[case::no_probes(r#"{"schema":"palisade.verify/1","subject":{}}"#, "not a report")]
fn what_is_no_report_is_refused(#[case] text: &str, #[case] why: &str) {
    let error = read::parse("f.json", "f", text.as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("f.json: ") && error.contains(why), "{error}");
}

/// As published; and what the schema is there to refuse, it refuses.
#[test]
fn as_published() {
    use crate::report::tests::published::schemas;
    const PUBLISHED: &str = "conformance/schema/palisade.matrix-1.json";
    let said_otherwise = [
        surveyed("c", "available", "filesystem.hidden", "refused"),
        surveyed("d", "available", "filesystem.hidden", "refused"),
    ];
    let then = Matrix::new(Axis::Host, runtimes().into_iter().skip(1)).unwrap();
    let now = Matrix::new(Axis::Host, runtimes().into_iter().take(3).chain(said_otherwise)).unwrap();
    let changes = Regressions::between(&then, &now);
    let mut out = Vec::new();
    Form::Json.write(&mut out, &now, Some(&changes)).unwrap();
    let whole: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert!(whole["disagreements"].as_array().is_some_and(|all| !all.is_empty()), "{whole:#}");
    schemas::json(PUBLISHED, &whole).unwrap();
    let runtimes = Matrix::new(Axis::Runtime, runtimes()).unwrap();
    schemas::json(PUBLISHED, &serde_json::from_str(&shown(Form::Json, &runtimes)).unwrap()).unwrap();
    for (pointer, value) in [
        ("/schema", serde_json::json!("palisade.matrix/2")),
        ("/subjects/0/clauses/filesystem.hidden", serde_json::json!({"hold": {}})),
        ("/disagreements/0", serde_json::json!({})),
    ] {
        let mut broken = whole.clone();
        *broken.pointer_mut(pointer).unwrap() = value;
        assert!(schemas::json(PUBLISHED, &broken).is_err(), "{pointer}");
    }
}

/// What was found here of the runtimes of others: `fixtures/peers`. Ours breaches nothing and prevents nothing that is allowed, the control
/// breaches what ours holds, and enough of the others really ran.
#[rstest]
#[case::root(
    include_bytes!("../../../../fixtures/peers/root.json"),
    include_str!("../../../../fixtures/peers/root.md"),
    900,
    9
)]
#[case::user(
    include_bytes!("../../../../fixtures/peers/user.json"),
    include_str!("../../../../fixtures/peers/user.md"),
    800,
    6
)]
fn what_was_found_of_the_runtimes_of_others(
    #[case] text: &[u8],
    #[case] page: &str,
    #[case] held: usize,
    #[case] ran: usize,
) {
    let matrix = Matrix::new(Axis::Runtime, [read::parse("peers", "peers", text).unwrap()]).unwrap();
    let of = |runtime: &str, kind: Kind| -> usize {
        let subject = matrix.subjects.iter().find(|subject| subject.key.runtime == runtime).unwrap();
        subject.clauses.values().map(|cell| cell.count(kind)).sum()
    };
    for kind in [Kind::Breached, Kind::OverBlocked, Kind::Inconclusive] {
        assert_eq!(of(OWN, kind), 0, "{kind:?}");
    }
    assert!(of(OWN, Kind::Held) > held, "{}", of(OWN, Kind::Held));
    assert!(of(CONTROL, Kind::Breached) > held - 200, "{}", of(CONTROL, Kind::Breached));
    let others =
        matrix.subjects.iter().filter(|subject| ![OWN, CONTROL].contains(&subject.key.runtime.as_str()));
    assert!(others.count() >= ran);
    // The page is made of these data.
    assert_eq!(shown(Form::Markdown, &matrix), page);
}
