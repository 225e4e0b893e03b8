//! The lab: private namespaces that hold the "host" and the "internet" that a sandbox under test may see.
//!
//! No uplink exists, every address of both families is answered by the lab's own listeners ([`canary`]), and
//! the host's own files are read-only to everything in it, the suite and root included: write reports to descriptors that were
//! opened outside. Nothing is probed outside of a lab, ever: [`build`] and everything after
//! it need the proof that [`guard`] gives.
//!
//! # How a program uses it
//!
//! ```no_run
//! use palisade_conformance::lab;
//!
//! fn main() -> std::process::ExitCode {
//!     // First thing of all: a hidden stage does its work and ends here.
//!     if let Some(status) = lab::dispatch() {
//!         return status.into();
//!     }
//!     let mut arguments = std::env::args_os().skip(1);
//!     if arguments.next().is_some_and(|first| first == "__suite") {
//!         // The suite stage, inside.
//!         let lab = match lab::build(&lab::LabOptions::default()) {
//!             Ok(lab) => lab,
//!             Err(e) => {
//!                 eprintln!("palisade: {e}");
//!                 return 3.into();
//!             }
//!         };
//!         println!("{}", lab.world().hostname);
//!         return 0.into();
//!     }
//!     // The outer stage, still with one thread.
//!     match lab::enter(lab::inner_arguments("__suite")) {
//!         Ok(status) => status.into(),
//!         Err(e) => {
//!             eprintln!("palisade: {e}");
//!             e.hint().into_iter().for_each(|hint| eprintln!("hint: {hint}"));
//!             3.into()
//!         }
//!     }
//! }
//! ```
//!
//! # What the lab does not hold
//!
//! Clocks, most sysctls, modules, AF_VSOCK and the kernel log belong to no namespace: probes of those use operands that
//! cannot act. `/sys` is the host's own; its network part shows the host's links.

mod bounds;
mod build;
pub mod canary;
mod caps;
mod decoy;
mod error;
pub mod guard;
mod leaks;
mod loot;
mod mounts;
mod namespaces;
mod network;
mod objects;
mod rtnl;
mod scene;
mod seal;
mod stage;
pub mod world;

pub use build::{Lab, LabOptions, build, inner_arguments};
pub use canary::{Canary, Endpoint, Hit, Proto};
pub use error::LabError;
pub use mounts::PlantedMount;
pub use network::link;
pub use stage::{LAB_DECOY, LAB_INIT, dispatch, enter, enter_carrying};
pub use world::World;
