//! The probe program: runs a script of operations inside a sandbox and says what happened.
//!
//! Static, single-threaded, without heap and without a C library, so that the first system call of a script is
//! also (but for a write and a clone) the first system call of the process. It only observes: what an observation
//! means is decided outside, by the suite.
//!
//! `build.rs` compiles this file by itself; the library crate around it carries the result.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod address;
mod buffer;
mod call;
mod child;
mod decode;
mod directory;
mod engine;
mod guard;
mod kernel;
mod netlink;
mod ops;
mod output;
#[allow(unsafe_code)]
mod raw;
mod refusal;
mod socket;
mod stream;
