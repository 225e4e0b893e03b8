//! Files of /etc that a sandbox is given in the place of the host's: its own users and groups, and names that are looked up in files and
//! by a resolver of its own, which is not there where the network is closed. For runtimes that bind files, not make them.

use std::path::{Path, PathBuf};

use palisade_policy::{Identity, Policy};

use super::Item;

/// What a dynamically linked program needs of the host's /etc, and no more. Not everything is there on every host.
pub(super) const OF_HOST: &[&str] = &[
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
];

/// The id, of user and group, that the policy gives the workload, in a runtime that maps a single one.
pub(super) fn id(policy: &Policy) -> &'static str {
    match policy.process.identity {
        Identity::Root => "0",
        _ => "1000",
    }
}

/// The files below `scratch`, and where each of them goes.
pub(super) fn files(policy: &Policy, scratch: &Path) -> Vec<(Item, PathBuf, PathBuf)> {
    let (user, group) = match id(policy) {
        "0" => (String::new(), String::new()),
        id => (format!("user:x:{id}:{id}:user:/tmp:/bin/sh\n"), format!("user:x:{id}:\n")),
    };
    let files = [
        ("group", format!("root:x:0:\n{group}nogroup:x:65534:\n")),
        ("hosts", "127.0.0.1 localhost palisade\n::1 localhost\n".to_owned()),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
        (
            "passwd",
            format!(
                "root:x:0:0:root:/tmp:/bin/sh\n{user}nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
            ),
        ),
        // Nobody listens there: a look-up fails at once.
        ("resolv.conf", "nameserver 127.0.0.1\n".to_owned()),
    ];
    let file = |(name, text): (&str, String)| {
        let source = scratch.join("etc").join(name);
        (Item::File(source.clone(), text.into_bytes()), source, Path::new("/etc").join(name))
    };
    files.map(file).into()
}
