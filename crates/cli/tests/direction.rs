//! The direction of dependency, over `cargo metadata`: who may know whom, and who must not.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What each package of the workspace may depend on, of the workspace. A new package has to be added here.
const ALLOWED: &[(&str, &[&str])] = &[
    ("palisade-policy", &[]),
    ("palisade-sys", &[]),
    ("palisade-gateway", &["palisade-policy"]),
    ("palisade-probe", &[]),
    ("palisade-plan", &["palisade-policy"]),
    ("palisade-host", &["palisade-plan", "palisade-policy", "palisade-sys"]),
    ("palisade", &["palisade-gateway", "palisade-host", "palisade-plan", "palisade-policy", "palisade-sys"]),
    // The suite meets every runtime only as an executable: it must not know how ours works.
    ("palisade-conformance", &["palisade-policy", "palisade-probe"]),
    (
        "palisade-cli",
        &[
            "palisade",
            "palisade-conformance",
            "palisade-host",
            "palisade-plan",
            "palisade-policy",
            // For the allocator alone.
            "palisade-sys",
        ],
    ),
];

/// Packages that must stay free of what touches the operating system.
const PURE: &[&str] = &["palisade-policy", "palisade-plan"];
const IMPURE_DEPENDENCIES: &[&str] = &["libc", "nix", "rustix", "tokio", "tempfile"];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
            let names =
                normal.filter_map(|dependency| dependency["name"].as_str()).map(str::to_owned).collect();
            (package["name"].as_str().expect("name").to_owned(), names)
        })
        .collect()
}

#[test]
fn packages_depend_only_in_the_allowed_direction() {
    let dependencies = dependencies();
    let ours: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    let listed: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, listed, "every package of the workspace has its line in ALLOWED");
    for (package, allowed) in ALLOWED {
        let used: BTreeSet<&str> =
            dependencies[*package].iter().map(String::as_str).filter(|name| ours.contains(name)).collect();
        let excess: Vec<_> = used.iter().filter(|name| !allowed.contains(name)).collect();
        assert!(excess.is_empty(), "{package} must not depend on {excess:?}");
    }
}

#[test]
fn pure_packages_have_no_way_to_the_operating_system() {
    let dependencies = dependencies();
    for package in PURE {
        let excess: Vec<_> = dependencies[*package]
            .iter()
            .filter(|name| IMPURE_DEPENDENCIES.contains(&name.as_str()))
            .collect();
        assert!(excess.is_empty(), "{package} is pure but depends on {excess:?}");
    }
}
