use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::policy::PathRule;

fn filesystem(rules: &[(&str, Access)]) -> Filesystem {
    let rule = |(index, &(path, access)): (usize, &(&str, Access))| PathRule {
        access,
        entry: PathEntry { clause: Clause::entry("rules", index), path: path.into(), optional: false },
    };
    Filesystem { rules: rules.iter().enumerate().map(rule).collect(), ..Filesystem::default() }
}

use Access::{Hidden, ReadOnly, ReadWrite};

#[rstest]
#[case("/w", Some(ReadWrite))]
#[case("/w/x", Some(ReadWrite))]
#[case("/w/./x/", Some(ReadWrite))]
#[case("/w/vendor", Some(ReadOnly))]
#[case("/w/vendor/a/b", Some(ReadOnly))]
#[case("/w/vendored", Some(ReadWrite))]
#[case("/w/vendor/patches/p", Some(ReadWrite))]
#[case("/w/vendor/secret", Some(Hidden))]
#[case("/w/vendor/secret/deep", Some(Hidden))]
#[case("/w/vendor/../x", Some(ReadWrite))]
#[case("/opt/x", Some(ReadOnly))]
#[case("/opt", None)]
#[case("/", None)]
#[case("/wx", None)]
fn the_most_specific_rule_wins(#[case] path: &str, #[case] access: Option<Access>) {
    let rules = filesystem(&[
        (".", ReadWrite),
        ("vendor", ReadOnly),
        ("./vendor/patches/", ReadWrite),
        ("/w/vendor/secret", Hidden),
        ("/opt/x", ReadOnly),
    ]);
    assert_eq!(rules.resolve(Path::new("/w")).unwrap().access(Path::new(path)), access);
}

#[test]
fn a_directory_and_its_absolute_name_contradict() {
    let errors = filesystem(&[(".", ReadWrite), ("a", ReadOnly), ("/w", Hidden), ("/w/./a", ReadOnly)])
        .resolve(Path::new("/w/"))
        .unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].to_string(), "path `/w` is both read-write (rules[0]) and hidden (rules[2])");
}

#[test]
fn the_root_cannot_be_hidden() {
    let errors = filesystem(&[(".", Hidden)]).resolve(Path::new("/")).unwrap_err();
    assert_eq!(errors, [ResolveError::HiddenRoot(Clause::entry("rules", 0))]);
}

#[rstest]
#[case("w")]
#[case("")]
#[case("/w/../v")]
#[case("(unreachable)/w")]
fn a_working_directory_is_absolute(#[case] cwd: &str) {
    let errors = filesystem(&[]).resolve(Path::new(cwd)).unwrap_err();
    assert_eq!(errors, [ResolveError::WorkingDirectory(cwd.into())]);
}

#[test]
fn one_path_under_two_names_is_required_if_either_is() {
    let mut rules = filesystem(&[(".", ReadOnly), ("/w", ReadOnly)]);
    rules.rules[0].entry.optional = true;
    let resolved = rules.resolve(Path::new("/w")).unwrap();
    assert_eq!(resolved.rules().len(), 1);
    assert!(!resolved.rules()[0].entry.optional);
}

#[test]
fn nothing_below_a_no_execute_path_is_executable() {
    let entry = PathEntry { clause: Clause::entry("x", 0), path: "a".into(), optional: false };
    let rules = Filesystem { no_execute: vec![entry], ..Filesystem::default() };
    let resolved = rules.resolve(Path::new("/w")).unwrap();
    assert!(!resolved.may_execute(Path::new("/w/a")));
    assert!(!resolved.may_execute(Path::new("/w/a/b")));
    assert!(resolved.may_execute(Path::new("/w/ab")));
}

/// The definition, over plain lists of names: walk up from the path; the first directory that any rule names decides,
/// and the strictest of its rules.
fn by_definition(cwd: &str, rules: &[(String, Access)], path: &str) -> Option<Access> {
    let names = |path: &str| -> Vec<String> {
        path.split('/').filter(|name| !name.is_empty() && *name != ".").map(str::to_owned).collect()
    };
    let absolute =
        |path: &str| names(&if path.starts_with('/') { path.to_owned() } else { format!("{cwd}/{path}") });
    let mut here = names(path);
    loop {
        let said = rules.iter().filter(|(rule, _)| absolute(rule) == here).map(|&(_, access)| access);
        if let Some(strictest) = said.min() {
            return Some(strictest);
        }
        here.pop()?;
    }
}

fn access() -> impl Strategy<Value = Access> {
    prop::sample::select(vec![Hidden, ReadOnly, ReadWrite])
}

/// Paths of few names, so that rules often meet; with every way to write the same path.
fn path() -> impl Strategy<Value = String> {
    "(/|\\./|//)?(a|b|w|\\.)(/(a|b|w|\\.)){0,3}/?"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn access_is_what_the_definition_says(
        rules in prop::collection::vec((path(), access()), 0..6),
        cwd in "/(w|a)?",
        asked in prop::collection::vec("/(a|b|w)?(/(a|b|w|\\.)){0,4}", 1..6),
    ) {
        let borrowed: Vec<(&str, Access)> = rules.iter().map(|(path, access)| (path.as_str(), *access)).collect();
        match filesystem(&borrowed).resolve(Path::new(&cwd)) {
            Ok(resolved) => {
                for path in &asked {
                    prop_assert_eq!(resolved.access(Path::new(path)), by_definition(&cwd, &rules, path));
                }
                for rule in resolved.rules() {
                    prop_assert_eq!(resolved.access(&rule.entry.path), Some(rule.access));
                }
            }
            Err(errors) => {
                for error in errors {
                    match error {
                        // Some rule for this very path says something else than the definition does.
                        ResolveError::Contradiction { path, first, second } => {
                            prop_assert_ne!(first.1, second.1);
                            let said = by_definition(&cwd, &rules, path.to_str().unwrap());
                            prop_assert!(said.is_some_and(|said| said <= first.1.min(second.1)));
                        }
                        ResolveError::HiddenRoot(_) => {
                            prop_assert_eq!(by_definition(&cwd, &rules, "/"), Some(Hidden));
                        }
                        ResolveError::WorkingDirectory(_) => prop_assert!(false, "{} is absolute", cwd),
                    }
                }
            }
        }
    }

    #[test]
    fn a_rule_stands_after_every_rule_that_contains_it(
        rules in prop::collection::vec((path(), access()), 0..8),
    ) {
        let borrowed: Vec<(&str, Access)> = rules.iter().map(|(path, access)| (path.as_str(), *access)).collect();
        if let Ok(resolved) = filesystem(&borrowed).resolve(Path::new("/w")) {
            for (index, rule) in resolved.rules().iter().enumerate() {
                let mut later = resolved.rules()[index + 1..].iter();
                prop_assert!(!later.any(|later| rule.entry.path.starts_with(&later.entry.path)));
            }
        }
    }
}
