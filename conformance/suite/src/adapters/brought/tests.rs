use super::*;
use rstest::rstest;
use std::time::Duration;

const FILE: &str = r#"
name: mine
version: [mine, --version]
files: {seccomp: filter.bpf}
command:
  - mine
  - [--time, "{policy.resources.wall_time}"]
  - [--memory, "{policy.resources.memory}"]
  - "--cwd={workdir}"
  - [--ro, "{policy.filesystem.read_only...}", "{policy.filesystem.read_only...}:x"]
  - [--rw, "{policy.filesystem.read_write...}"]
  - "--set={policy.environment.set...}"
  - "--filter={file.seccomp}"
  - "{{{policy.network.mode}}}"
  - [--state, "{scratch}", --name, "{id}"]
  - --
  - "{command...}"
exit: {runtime: [125], out_of_time: [124]}
inexpressible: {process.terminal: it gives none}
"#;

fn parse(text: &str) -> Result<Brought, Problem> {
    form::parse("mine.yaml", text, &|name| match name {
        "filter.bpf" => Ok(b"bytes".to_vec()),
        _ => Err("no such file".to_owned()),
    })
}

fn invocation(text: &str, policy: &Policy, wall_time: Option<Duration>) -> Result<Invocation, Inexpressible> {
    let argv = ["/work/probe".to_owned(), "n0nce".to_owned(), "a:sys 39".to_owned()];
    let case = Case {
        argv: &argv,
        cwd: Path::new("/work"),
        wall_time,
        probe: Path::new("/work/probe"),
        id: "n0nce",
        root: false,
        scratch: Path::new("/lab/runtimes/n0nce"),
    };
    let source = PolicySource { argument: "default", policy, carried: &[] };
    parse(text).expect("a good file").translate(source, case)
}

fn policy(text: &str) -> Policy {
    palisade_policy::Document::parse("policy.yaml", text).expect("a good policy").policy
}

fn words(text: &str, policy: &Policy) -> Vec<String> {
    let found = invocation(text, policy, None).expect("expressible");
    found.argv.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

#[test]
fn names_are_values_of_the_policy_and_the_run() {
    let policy = policy(
        "version: 1\nfilesystem: {read_only: [/opt/a, /opt/b/c]}\nresources: {memory: 64MiB}\nenvironment: {set: {A: x y}}\n",
    );
    let found = invocation(FILE, &policy, Some(Duration::from_millis(1500))).expect("expressible");
    let expected = [
        "mine",
        "--time",
        "1.5",
        "--memory",
        "67108864",
        "--cwd=/work",
        "--ro",
        "/opt/a",
        "/opt/a:x",
        "--ro",
        "/opt/b/c",
        "/opt/b/c:x",
        "--set=A=x y",
        "--filter=/mnt/lab/tools/runtime/seccomp",
        "{none}",
        "--state",
        "/lab/runtimes/n0nce",
        "--name",
        "n0nce",
        "--",
        "/work/probe",
        "n0nce",
        "a:sys 39",
    ];
    assert_eq!(found.argv, expected);
    assert_eq!(found.items, [Item::Directory("/lab/runtimes/n0nce".into())]);
}

#[test]
fn what_a_policy_does_not_say_is_left_out() {
    let found = words(FILE, &policy("version: 1\n"));
    for flag in ["--time", "--memory", "--rw", "--ro"] {
        assert!(!found.contains(&flag.to_owned()), "{flag}: {found:?}");
    }
    assert!(found.contains(&"--cwd=/work".to_owned()), "{found:?}");
    // What may be missing, and is, is not said.
    let optional = policy("version: 1\nfilesystem: {read_only: [{path: /nonexistent/x, optional: true}]}\n");
    assert_eq!(words(FILE, &optional), found);
}

#[test]
fn one_that_is_not_told_the_time_cannot_keep_it() {
    let text = "name: mine\nversion: [mine]\ncommand: [mine, '{command...}']\n";
    let policy = policy("version: 1\n");
    assert!(invocation(text, &policy, None).is_ok_and(|found| found.items.is_empty()));
    let refused = invocation(text, &policy, Some(Duration::from_secs(1))).expect_err("the time");
    assert_eq!(refused.clause, "resources.wall_time");
}

#[test]
fn exit_codes_are_what_the_file_says() {
    let brought = parse(FILE).expect("a good file");
    assert_eq!(brought.exit(125), Exit::Runtime);
    assert_eq!(brought.exit(124), Exit::OutOfTime);
    assert_eq!(brought.exit(0), Exit::Workload(0));
    let said = brought.inexpressible(&policy("version: 1\n"));
    assert_eq!(said["process.terminal"], "it gives none");
}

/// Every name is a name of something, and of the kind that the tables say.
#[test]
fn the_tables_of_names_are_complete() {
    let case = Case {
        argv: &[],
        cwd: Path::new("/work"),
        wall_time: None,
        probe: Path::new("/work/probe"),
        id: "n0nce",
        root: false,
        scratch: Path::new("/lab"),
    };
    let values = Values::of(&policy("version: 1\n"), case).expect("values");
    for name in template::ONE {
        assert!(matches!(values.get(name), Some(Bound::One(_))), "{name}");
    }
    for name in template::EACH {
        assert!(matches!(values.get(name), Some(Bound::Each(_))), "{name}");
    }
    let page = include_str!("../../../../../fixtures/runtimes/README.md");
    for name in template::ONE {
        assert!(page.contains(&format!("`{{{name}}}`")), "{name} is documented");
    }
    for name in template::EACH {
        assert!(page.contains(&format!("`{{{name}...}}`")), "{name} is documented");
    }
}

#[rstest]
#[case("name: Mine", "mine.yaml:1:7: \"Mine\" is not the name of a runtime", "lower-case")]
#[case("name: bubblewrap", "\"bubblewrap\" is the name of a runtime that is known", "choose another")]
#[case("version: []", "mine.yaml:2:10: no command stands here", "")]
#[case("version: [mine, '{workdir}']", "mine.yaml:2:17: nothing has the name {workdir}", "")]
#[case("command: [mine]", "mine.yaml:4:10: the workload's command is not run", "once")]
#[case("command: [mine, 'x{command...}']", "the workload's command is not run", "an entry of its own")]
#[case("command: ['{command...}', '{command...}']", "the workload's command is not run", "once")]
#[case("command: [mine, '{command}']", "mine.yaml:4:17: {command} is a list", "{command...}")]
#[case("command: ['{workdir...}', '{command...}']", "{workdir} is no list", "write {workdir}")]
#[case("command: ['{worksdir}', '{command...}']", "nothing has the name {worksdir}", "mean {workdir}?")]
#[case("command: ['{policy.network.mod}', '{command...}']", "nothing has", "mean {policy.network.mode}?")]
#[case("command: ['{file.other}', '{command...}']", "nothing has the name {file.other}", "{file.NAME}")]
#[case("command: ['${x', '{command...}']", "a brace stands alone", "twice")]
#[case("command: ['x}', '{command...}']", "a brace stands alone", "twice")]
#[case("command: [5, '{command...}']", "mine.yaml:4", "")]
#[case(
    "command: [['{policy.filesystem.hidden...}', '{policy.filesystem.read_only...}'], '{command...}']",
    "two lists",
    "for one list"
)]
#[case("files: {seccomp: other.bpf}", "mine.yaml:3:18: other.bpf: no such file", "")]
#[case("files: {A: filter.bpf}", "\"A\" is not a name for a file", "{file.NAME}")]
#[case("exit: {runtime: [1], out_of_time: [1]}", "the exit code 1 would mean two things", "")]
#[case("exit: {out_of_time: [1]}", "not told how long", "{policy.resources.wall_time}")]
#[case("exit: {runtime: [256]}", "mine.yaml:5", "")]
#[case("inexpressible: {files: x}", "mine.yaml:6:24: \"files\" is no clause", "filesystem")]
#[case("inexpressible: {filesystem: ''}", "not one line", "")]
#[case("unknown: 1", "unknown", "")]
fn mistakes_are_told_with_their_place(#[case] line: &str, #[case] message: &str, #[case] hint: &str) {
    let key = line.split(':').next().expect("a key");
    let good = [
        ("name", "name: mine"),
        ("version", "version: [mine]"),
        ("files", "files: {seccomp: filter.bpf}"),
        ("command", "command: [mine, '{command...}']"),
        ("exit", "exit: {}"),
        ("inexpressible", "inexpressible: {}"),
        ("unknown", ""),
    ];
    let lines = good.map(|(known, text)| if known == key { line } else { text });
    let problem = parse(&lines.join("\n")).expect_err("a mistake");
    assert!(problem.to_string().contains(message), "{problem}");
    assert!(problem.hint.clone().unwrap_or_default().contains(hint), "{:?}", problem.hint);
}

#[test]
fn a_file_is_told_from_a_name() {
    for file in ["./mine", "mine.yaml", "mine.yml", "/etc/mine"] {
        assert!(Brought::is_file(file), "{file}");
    }
    assert!(!Brought::is_file("bubblewrap"));
}

/// Those that are shipped, with the files that they name.
#[rstest]
#[case("wrapper")]
#[case("bubblewrap")]
fn examples_are_good(#[case] name: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/runtimes");
    let brought = Brought::load(&directory.join(name).with_extension("yaml")).expect("a good file");
    assert!(brought.name.starts_with(name));
    let missing = Brought::load(&directory.join("missing.yaml")).expect_err("no file");
    assert!(missing.to_string().contains("missing.yaml: cannot be read"), "{missing}");
}
