//! Kernel calls under their kernel names: what neither `std` nor `rustix` wraps safely.
//!
//! This crate holds the only `unsafe` code of the runtime. It decides nothing: no policy, no order, no
//! fallback. Every function here makes one system call (or a fixed handful), allocates nothing, takes no lock,
//! and reports the kernel's errno, so all of them may be called between `fork` and `exec` of a threaded program.
//!
//! Callers: `palisade-host` (survey) and `palisade` (launch, child, supervise).

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!(
    "palisade supports Linux on x86-64: the system-call filter and this crate know no other ABI yet"
);

mod errno;

pub mod exec;
pub mod landlock;
pub mod memory;
pub mod mount;
pub mod net;
pub mod network_namespace;
pub mod process;
pub mod seccomp;
pub mod signal;
pub mod surface;
pub mod user_namespace;

pub use errno::{Errno, Result};
