//! How each runtime is asked to run a command under a policy, for whoever wants to do so many times:
//! `cargo run -p palisade-conformance --example invocations -- POLICY SCRATCH NAMES COMMAND...`, in the directory that the run
//! starts in; NAMES are runtimes, with commas between them.
//!
//! Prints an array in JSON, one object a runtime: its name, and either its version, the command, what it lacks, or why it is not
//! here. What it wants to find is made below SCRATCH, by absolute path, in a directory of its name.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use palisade_conformance::adapters::{self, Case, Invocation, Item, PolicySource};
use palisade_conformance::entry::Entry;
use palisade_policy::{Document, Policy};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [named, scratch, names, command @ ..] = words.as_slice() else {
        return Err("invocations POLICY SCRATCH NAMES COMMAND...".into());
    };
    let document = match Document::builtin(named) {
        Some(document) => document,
        None => Document::parse(named, &fs::read_to_string(named)?).map_err(|errors| errors.render(false))?,
    };
    let all: Vec<Value> =
        names.split(',').map(|name| one(name, &document.policy, Path::new(scratch), command)).collect();
    println!("{}", Value::from(all));
    Ok(())
}

fn one(name: &str, policy: &Policy, scratch: &Path, command: &[String]) -> Value {
    match asked(name, policy, scratch, command) {
        Ok((version, invocation, lacks)) => {
            let argv: Vec<_> = invocation.argv.iter().map(|word| word.to_string_lossy()).collect();
            let env: BTreeMap<_, _> = invocation.env.into_iter().collect();
            json!({"name": name, "version": version, "argv": argv, "env": env, "cwd": invocation.cwd, "lacks": lacks})
        }
        Err(why) => json!({"name": name, "absent": why}),
    }
}

type Asked = (String, Invocation, BTreeMap<String, String>);

fn asked(name: &str, policy: &Policy, scratch: &Path, command: &[String]) -> Result<Asked, String> {
    let adapter = adapters::by_name(name, Path::new("palisade"), Entry::Run).ok_or("no adapter")?;
    let version = adapter.detect()?;
    let cwd = std::env::current_dir().map_err(|error| error.to_string())?;
    let (id, scratch) = (format!("bench-{name}-{}", std::process::id()), scratch.join(name));
    let case = Case {
        argv: command,
        cwd: &cwd,
        wall_time: None,
        probe: &cwd,
        id: &id,
        scratch: &scratch,
        root: rustix::process::geteuid().is_root(),
    };
    let source = PolicySource { argument: "", policy, carried: &[] };
    let invocation = adapter.translate(source, case).map_err(|why| why.to_string())?;
    invocation.items.iter().try_for_each(make).map_err(|error| error.to_string())?;
    let lacks = adapter.inexpressible(policy);
    Ok((version, invocation, lacks))
}

fn make(item: &Item) -> std::io::Result<()> {
    match item {
        Item::Directory(path) => fs::create_dir_all(path),
        Item::File(path, content) => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, content)
        }
        Item::Link(path, target) => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            symlink(target, path)
        }
    }
}
