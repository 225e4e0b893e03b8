//! Compiles the probe program and hands its path to the library as `PALISADE_PROBE_IMAGE`.
//!
//! The program is one `rustc` call, not a cargo package: it needs `panic=abort` and a static, non-PIE
//! link whatever the profile of the workspace is, and it must be there after a plain `cargo build`.
//! `$RUSTC` is used and not the wrapper, so that clippy and sccache do not get in the way; `RUSTFLAGS` are
//! not passed on, so that coverage or sanitizers never end up in a program without a runtime.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

fn main() {
    let manifest = PathBuf::from(required("CARGO_MANIFEST_DIR"));
    let program = manifest.join("src/program");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    watch(&program);

    let (os, arch) = (required("CARGO_CFG_TARGET_OS"), required("CARGO_CFG_TARGET_ARCH"));
    if (os.as_str(), arch.as_str()) != ("linux", "x86_64") {
        fail(&format!(
            "the probe program knows only the system calls of x86_64 linux, not {arch} {os}\n\
             hint: build with --target x86_64-unknown-linux-gnu"
        ));
    }

    let image = PathBuf::from(required("OUT_DIR")).join("palisade-probe");
    compile(&manifest, &program.join("main.rs"), &image);
    println!("cargo::rustc-env=PALISADE_PROBE_IMAGE={}", image.display());
}

fn compile(manifest: &Path, source: &Path, image: &Path) {
    let mut rustc = Command::new(required("RUSTC"));
    rustc
        .args(["--edition=2024", "--crate-name=palisade_probe_program", "--crate-type=bin"])
        .args(["--target", &required("TARGET")])
        .args(["-Copt-level=z", "-Cpanic=abort", "-Ccodegen-units=1", "-Clto=fat"])
        .args(["-Cstrip=symbols", "-Cdebug-assertions=off"])
        // Nothing relocates the program: it has to run at the addresses it was linked for. They lie below
        // 4 GiB, which the 32-bit entry of the kernel needs for its pointers.
        .arg("-Crelocation-model=static")
        .args(["-Clink-arg=-nostartfiles", "-Clink-arg=-nostdlib", "-Clink-arg=-static"])
        .args(["-Clink-arg=-Wl,--build-id=none", "-Clink-arg=-Wl,-z,noexecstack"])
        // No path of the building machine in the image, so that equal sources give equal bytes.
        .arg(format!("--remap-path-prefix={}=palisade-probe", manifest.display()));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    rustc.arg("-o").arg(image).arg(source);

    let output = match rustc.output() {
        Ok(output) => output,
        Err(error) => fail(&format!("failed to start rustc for the probe program: {error}")),
    };
    let messages = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        fail(&format!("failed to compile the probe program: {rustc:?}\n{messages}"));
    }
    for line in messages.lines() {
        println!("cargo::warning={line}");
    }
}

/// Every source file and every directory, so that a new file is noticed as well.
fn watch(directory: &Path) {
    println!("cargo::rerun-if-changed={}", directory.display());
    let entries = match directory.read_dir() {
        Ok(entries) => entries,
        Err(error) => fail(&format!("failed to list {}: {error}", directory.display())),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            watch(&path);
        } else {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
}

fn required(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("cargo did not set {name}")))
}

fn fail(message: &str) -> ! {
    eprintln!("{message}");
    exit(1)
}
