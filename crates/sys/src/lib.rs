//! Kernel calls under their kernel names: what neither `std` nor `rustix` wraps safely.
//!
//! This crate holds the only `unsafe` code of the runtime. It decides nothing: no policy, no order, no
//! fallback. Every function here makes one system call (or a fixed handful), allocates nothing, takes no lock,
//! and reports the kernel's errno, so all of them may be called between `fork` and `exec` of a threaded program.
//! Besides, since it cannot be safe code either, there is the [`allocator`] of the `palisade` command.
//!
//! Callers: `palisade-host` (survey), `palisade` (launch, child, supervise) and, for the allocator, `palisade-cli`.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!(
    "palisade supports Linux on x86-64: the system-call filter and this crate know no other ABI yet"
);

mod errno;

pub mod allocator;
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
