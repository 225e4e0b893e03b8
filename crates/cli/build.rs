//! Has the linker put side by side what a start of the program executes, where it can: `start.order`, which scripts/start-order
//! writes and explains. A linker that cannot, or names of another version of the compiler, leave the program as it would be.

use std::env;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const ORDER: &str = "start.order";

fn main() {
    println!("cargo::rerun-if-changed={ORDER}");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    // Other profiles have other names.
    if variable("PROFILE") != "release" {
        return;
    }
    let order = Path::new(&variable("CARGO_MANIFEST_DIR")).join(ORDER);
    // ld.lld(1).
    let order = format!("--symbol-ordering-file={}", order.display());
    let options = ["-Xlinker", &order, "-Xlinker", "--no-warn-symbol-ordering"];
    if links(&options, variable) {
        for option in options {
            println!("cargo::rustc-link-arg-bins={option}");
        }
    }
}

/// Whether the linker that will be used takes these options.
fn links(options: &[&str], variable: impl Fn(&str) -> String) -> bool {
    let mut compiler = Command::new(variable("RUSTC"));
    compiler.args(["--crate-name", "probe", "--crate-type", "bin", "--target", &variable("TARGET")]);
    compiler.args(["-o", &format!("{}/probe", variable("OUT_DIR")), "-"]);
    compiler.args(variable("CARGO_ENCODED_RUSTFLAGS").split('\x1f').filter(|flag| !flag.is_empty()));
    compiler.args(options.iter().map(|option| format!("-Clink-arg={option}")));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        compiler.arg(format!("-Clinker={linker}"));
    }
    let Ok(mut child) = compiler.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    else {
        return false;
    };
    let written = child.stdin.take().is_some_and(|mut source| source.write_all(b"fn main() {}").is_ok());
    child.wait().is_ok_and(|status| status.success()) && written
}
