use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::{Document, Network};

const CWD: &str = "/w";

fn policy(text: &str) -> Policy {
    Document::parse("test", text).unwrap_or_else(|problems| panic!("{problems}")).policy
}

fn narrowed(text: &str, narrowing: &Narrowing) -> Policy {
    let mut policy = policy(text);
    policy.narrow(narrowing, Path::new(CWD)).unwrap();
    policy
}

fn refused(text: &str, narrowing: &Narrowing) -> Vec<String> {
    let mut policy = policy(text);
    let before = policy.clone();
    let refusals = policy.narrow(narrowing, Path::new(CWD)).unwrap_err();
    assert_eq!(policy, before, "a refused narrowing changes nothing");
    refusals.into_iter().map(|refusal| refusal.message).collect()
}

fn access(policy: &Policy, path: &str) -> Option<Access> {
    policy.filesystem.resolve(Path::new(CWD)).unwrap().access(Path::new(path))
}

const LIMITED: &str = "resources: { memory: 512MiB, wall_time: 5m, cpus: 1.5, processes: 64 }";

#[test]
fn limits_become_smaller() {
    let narrowing = Narrowing {
        memory: Some(ByteSize::from_mib(128)),
        wall_time: Some(Duration::from_secs(60)),
        cpu_time: Some(Duration::from_secs(10)),
        millicpus: Some(500),
        processes: Some(8),
        open_files: Some(64),
        file_size: Some(ByteSize::default()),
        output: Some(ByteSize::from_mib(1)),
        tmp: Some(ByteSize::from_mib(1)),
        ..Narrowing::default()
    };
    let policy = narrowed(LIMITED, &narrowing);
    assert_eq!(
        policy.resources,
        Resources {
            memory: Some(ByteSize::from_mib(128)),
            wall_time: Some(Duration::from_secs(60)),
            cpu_time: Some(Duration::from_secs(10)),
            millicpus: Some(500),
            processes: 8,
            open_files: 64,
            file_size: ByteSize::default(),
            output: Some(ByteSize::from_mib(1)),
        }
    );
    assert_eq!(policy.filesystem.tmp, ByteSize::from_mib(1));
}

#[test]
fn what_is_equal_is_no_widening() {
    let narrowing = Narrowing {
        network: Some(NetworkMode::None),
        memory: Some(ByteSize::from_mib(512)),
        processes: Some(64),
        ..Narrowing::default()
    };
    assert_eq!(narrowed(LIMITED, &narrowing), policy(LIMITED));
}

#[rstest]
#[case(Narrowing { memory: Some(ByteSize::from_mib(1024)), ..Narrowing::default() },
    "memory 1GiB would widen the policy, which declares 512MiB")]
#[case(Narrowing { wall_time: Some(Duration::from_secs(600)), ..Narrowing::default() },
    "wall_time 600s would widen the policy, which declares 300s")]
#[case(Narrowing { millicpus: Some(1501), ..Narrowing::default() },
    "cpus 1.501 would widen the policy, which declares 1.5")]
#[case(Narrowing { processes: Some(65), ..Narrowing::default() },
    "processes 65 would widen the policy, which declares 64")]
#[case(Narrowing { open_files: Some(4096), ..Narrowing::default() },
    "open_files 4096 would widen the policy, which declares 1024")]
#[case(Narrowing { tmp: Some(ByteSize::from_mib(512)), ..Narrowing::default() },
    "tmp 512MiB would widen the policy, which declares 256MiB")]
#[case(Narrowing { network: Some(NetworkMode::Open), ..Narrowing::default() },
    "network mode open would widen the policy, which declares none")]
#[case(Narrowing { tmp: Some(ByteSize::default()), ..Narrowing::default() }, "tmp of 0B is too small")]
#[case(Narrowing { memory: Some(ByteSize::default()), ..Narrowing::default() }, "memory of 0B is too small")]
#[case(Narrowing { cpu_time: Some(Duration::from_millis(1500)), ..Narrowing::default() },
    "processor time of 1.5s is not in whole seconds")]
fn widening_is_refused(#[case] narrowing: Narrowing, #[case] message: &str) {
    assert_eq!(refused(LIMITED, &narrowing), [message]);
}

#[test]
fn every_widening_is_told_at_once() {
    let narrowing = Narrowing {
        memory: Some(ByteSize::from_mib(1024)),
        processes: Some(65),
        read_only: vec!["/etc".into()],
        ..Narrowing::default()
    };
    assert_eq!(refused(LIMITED, &narrowing).len(), 3);
}

#[test]
fn no_network_leaves_no_rules() {
    let text = "network: { mode: allowlist, allow: [{ host: example.org, ports: any }], proxy: environment, \
                dns: { servers: [192.0.2.53] }, publish: [{ port: 1, to: 127.0.0.1:1 }] }";
    let narrowing = Narrowing { network: Some(NetworkMode::None), ..Narrowing::default() };
    let policy = narrowed(text, &narrowing);
    assert_eq!(policy.network, Network::default());
}

#[test]
fn dropped_variables_are_gone() {
    let text = "environment: { pass: [A, B, LD_PRELOAD], set: { C: x, D: x }, force: [LD_PRELOAD] }";
    let drop_environment = ["B", "D", "LD_PRELOAD", "E"].map(str::to_owned).to_vec();
    let policy = narrowed(text, &Narrowing { drop_environment, ..Narrowing::default() });
    assert_eq!(policy.environment.pass, ["A"]);
    assert_eq!(policy.environment.set.keys().collect::<Vec<_>>(), ["C"]);
    assert!(policy.environment.force.is_empty());
}

const RULES: &str =
    "filesystem: { read_write: [., vendor/patches], read_only: [vendor, /opt], hidden: [.env] }";

#[rstest]
#[case(".", "/w/src", Some(Access::ReadOnly))]
#[case(".", "/w/vendor/patches/p", Some(Access::ReadOnly))]
#[case("/w", "/w/.env", Some(Access::Hidden))]
#[case("src", "/w/src/x", Some(Access::ReadOnly))]
#[case("src", "/w/other", Some(Access::ReadWrite))]
#[case("vendor", "/w/vendor/patches", Some(Access::ReadOnly))]
#[case("/", "/w/vendor/patches", Some(Access::ReadOnly))]
#[case("/", "/etc", None)]
fn read_only_reaches_everything_below(
    #[case] path: &str,
    #[case] file: &str,
    #[case] expected: Option<Access>,
) {
    let policy = narrowed(RULES, &Narrowing { read_only: vec![path.into()], ..Narrowing::default() });
    assert_eq!(access(&policy, file), expected);
}

#[rstest]
#[case("/etc", "path `/etc` as read-only would widen the policy, which does not allow it at all")]
#[case(".env", "path `.env` as read-only would widen the policy, which hides it")]
#[case("../x", "path `../x` contains `..`")]
#[case("", "path is empty")]
fn read_only_opens_nothing(#[case] path: &str, #[case] message: &str) {
    let narrowing = Narrowing { read_only: vec![path.into()], ..Narrowing::default() };
    assert_eq!(refused(RULES, &narrowing)[0], message);
}

#[rstest]
#[case("vendor", "/w/vendor/patches", Some(Access::Hidden))]
#[case("vendor/patches", "/w/vendor/patches", Some(Access::Hidden))]
#[case("vendor/patches", "/w/vendor", Some(Access::ReadOnly))]
#[case("/usr/share", "/usr/share/doc", Some(Access::Hidden))]
#[case(".", "/w/src", Some(Access::Hidden))]
fn hidden_reaches_everything_below(#[case] path: &str, #[case] file: &str, #[case] expected: Option<Access>) {
    let policy = narrowed(RULES, &Narrowing { hidden: vec![path.into()], ..Narrowing::default() });
    assert_eq!(access(&policy, file), expected);
}

#[test]
fn the_root_stays() {
    let narrowing = Narrowing { hidden: vec!["/".into()], ..Narrowing::default() };
    assert_eq!(refused(RULES, &narrowing), ["the root directory cannot be hidden"]);
}

/// Whether `after` allows nothing that `before` does not. Without a rule the base decides, which a rule for reading
/// might exceed; only hiding is certainly less.
fn is_within(after: Option<Access>, before: Option<Access>) -> bool {
    after == before
        || after == Some(Access::Hidden)
        || (after, before) == (Some(Access::ReadOnly), Some(Access::ReadWrite))
}

fn any_path() -> impl Strategy<Value = PathBuf> {
    "(/w|/|\\.)(/[abc]){0,3}".prop_map(PathBuf::from)
}

fn rules() -> impl Strategy<Value = Vec<PathRule>> {
    let access = prop::sample::select(vec![Access::Hidden, Access::ReadOnly, Access::ReadWrite]);
    let rule = (access, any_path()).prop_map(|(access, path)| rule(access, Clause::new("test"), &path));
    prop::collection::vec(rule, 0..5)
}

fn resources() -> impl Strategy<Value = Resources> {
    let size = || prop::option::of((0u64..16).prop_map(ByteSize::from_mib));
    let time = || prop::option::of((1u64..5).prop_map(Duration::from_secs));
    (size(), 1u32..9, prop::option::of(0u32..30), time(), time(), 8u32..16, 0u64..9, size()).prop_map(
        |(memory, processes, millicpus, cpu_time, wall_time, open_files, file_size, output)| Resources {
            memory,
            processes,
            millicpus,
            cpu_time,
            wall_time,
            open_files,
            file_size: ByteSize::from_mib(file_size),
            output,
        },
    )
}

fn network() -> impl Strategy<Value = NetworkMode> {
    prop::sample::select(vec![NetworkMode::None, NetworkMode::Allowlist, NetworkMode::Open])
}

fn at_most<T: PartialOrd>(after: Option<T>, before: Option<T>) -> bool {
    match (after, before) {
        (_, None) => true,
        (Some(after), Some(before)) => after <= before,
        (None, Some(_)) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn narrowing_paths_never_widens(
        rules in rules(),
        read_only in prop::collection::vec(any_path(), 0..3),
        hidden in prop::collection::vec(any_path(), 0..2),
        asked in prop::collection::vec("(/w)?(/[abc]){0,4}", 1..8),
    ) {
        let cwd = Path::new(CWD);
        let mut before = Policy::strictest("test");
        before.filesystem.rules = rules;
        let Ok(rules_before) = before.filesystem.resolve(cwd) else { return Ok(()) };
        let narrowing = Narrowing { read_only, hidden, ..Narrowing::default() };
        let mut after = before.clone();
        if after.narrow(&narrowing, cwd).is_err() {
            prop_assert_eq!(after, before);
            return Ok(());
        }
        let rules_after = after.filesystem.resolve(cwd).expect("no contradiction is added");
        for path in asked.iter().map(|path| Path::new("/").join(path)) {
            let (before, after) = (rules_before.access(&path), rules_after.access(&path));
            prop_assert!(is_within(after, before), "{}: {:?} to {:?}", path.display(), before, after);
            let is_under = |tops: &[PathBuf]| tops.iter().any(|top| path.starts_with(lexically_resolved(&cwd.join(top))));
            prop_assert!(!is_under(&narrowing.hidden) || after == Some(Access::Hidden));
            prop_assert!(!is_under(&narrowing.read_only) || after != Some(Access::ReadWrite));
        }
    }

    #[test]
    fn narrowing_limits_never_widens(
        resources in resources(),
        mode in network(),
        wanted in resources(),
        mask: u16,
        tmp in 0u64..9,
        network in network(),
        drop_environment in prop::collection::vec("[AB]", 0..2),
    ) {
        let mut before = Policy::strictest("test");
        before.filesystem.tmp = ByteSize::from_mib(4);
        before.resources = resources;
        before.network.mode = mode;
        before.environment.pass = vec!["A".to_owned(), "C".to_owned()];
        // Few wishes at a time, so that many of the narrowings are granted.
        let asks = |bit: u16| mask >> (2 * (bit % 8)) & 3 == 0;
        let narrowing = Narrowing {
            network: asks(0).then_some(network),
            memory: wanted.memory.filter(|_| asks(1)),
            processes: asks(2).then_some(wanted.processes),
            millicpus: wanted.millicpus.filter(|_| asks(3)),
            cpu_time: wanted.cpu_time.filter(|_| asks(4)),
            wall_time: wanted.wall_time.filter(|_| asks(5)),
            open_files: asks(6).then_some(wanted.open_files),
            file_size: asks(7).then_some(wanted.file_size),
            output: wanted.output.filter(|_| asks(1)),
            tmp: asks(3).then_some(ByteSize::from_mib(tmp)),
            drop_environment,
            ..Narrowing::default()
        };
        let mut after = before.clone();
        if after.narrow(&narrowing, Path::new(CWD)).is_err() {
            prop_assert_eq!(after, before);
            return Ok(());
        }
        let (old, new) = (&before.resources, &after.resources);
        prop_assert!(at_most(new.memory, old.memory) && at_most(new.output, old.output));
        prop_assert!(at_most(new.cpu_time, old.cpu_time) && at_most(new.wall_time, old.wall_time));
        prop_assert!(at_most(new.millicpus, old.millicpus));
        prop_assert!(new.processes <= old.processes && new.open_files <= old.open_files);
        prop_assert!(new.file_size <= old.file_size && after.filesystem.tmp <= before.filesystem.tmp);
        prop_assert!(after.network.mode <= before.network.mode);
        prop_assert!(after.environment.pass.iter().all(|name| before.environment.pass.contains(name)));
        prop_assert!(narrowing.drop_environment.iter().all(|name| !after.environment.pass.contains(name)));
        prop_assert!(narrowing.memory.is_none() || new.memory == narrowing.memory);
        prop_assert!(narrowing.network.is_none_or(|mode| after.network.mode == mode));
    }
}

const OVERLAY: &str = "filesystem: { read_write: [.], workspace: overlay, disk: 64MiB }";
const WRITABLE: &str = "filesystem: { read_write: [.] }";

#[test]
fn a_workspace_becomes_private_and_smaller() {
    let narrowing = |workspace, disk| Narrowing { workspace, disk, ..Narrowing::default() };
    let filesystem = |text, narrowing| narrowed(text, &narrowing).filesystem;
    let small = Some(ByteSize::from_mib(1));
    assert_eq!(filesystem(WRITABLE, narrowing(Some(Workspace::Copy), None)).workspace, Workspace::Copy);
    assert_eq!(filesystem(WRITABLE, narrowing(Some(Workspace::Overlay), small)).disk, ByteSize::from_mib(1));
    assert_eq!(filesystem(OVERLAY, narrowing(Some(Workspace::Copy), small)).workspace, Workspace::Copy);
    assert_eq!(filesystem(OVERLAY, narrowing(None, small)).disk, ByteSize::from_mib(1));
}

#[rstest]
#[case(
    OVERLAY,
    Some(Workspace::Direct),
    None,
    "workspace direct would widen the policy, which declares overlay"
)]
#[case(OVERLAY, None, Some(128), "disk 128MiB would widen the policy, which declares 64MiB")]
#[case(WRITABLE, None, Some(1), "disk cannot act: the workspace is direct")]
#[case(
    "filesystem: { read_only: [.] }",
    Some(Workspace::Overlay),
    None,
    "workspace overlay cannot act: no path is read-write"
)]
fn a_workspace_does_not_become_wider(
    #[case] text: &str,
    #[case] workspace: Option<Workspace>,
    #[case] disk: Option<u64>,
    #[case] message: &str,
) {
    let narrowing = Narrowing { workspace, disk: disk.map(ByteSize::from_mib), ..Narrowing::default() };
    assert_eq!(refused(text, &narrowing), [message]);
}
