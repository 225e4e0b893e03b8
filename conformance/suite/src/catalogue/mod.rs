//! The catalogue: what a sandbox is probed for.
//!
//! One file per group, `catalogue/<group>.rs`, with one function `probes(world, policy)`. The function returns
//! the entries that apply to this policy, in a fixed order; it touches nothing outside its arguments. A group is
//! listed once in [`GROUPS`], and a test fails on a file that is not.
//!
//! # Adding an entry
//!
//! ```
//! use palisade_conformance::catalogue::prelude::*;
//! use palisade_policy::Policy;
//! use palisade_conformance::lab::World;
//!
//! pub(super) fn probes(world: &World, policy: &Policy) -> Vec<Probe> {
//!     let _ = (world, policy);
//!     vec![
//!         // A prevention. Inside, the call must be refused; outside, the bad pointer must be looked at (EFAULT),
//!         // which proves that the host permits the operation without ever mounting anything.
//!         Probe::denies("mnt/mount", High)
//!             .serves("process.syscalls", "MNT-1")
//!             .requires("the workload cannot mount")
//!             .script([attempt!("sys", SYS_mount, BAD, BAD, BAD, 0, BAD)])
//!             .expect(Denied)
//!             .outside(Outside::fails([EFAULT])),
//!         // Something that must keep working. `allows` entries are over-blocked when they fail.
//!         Probe::allows("work/tmp-writable", Medium)
//!             .serves("filesystem.tmp", "WRK-1")
//!             .requires("a file can be created in /tmp")
//!             .script([attempt!("create_excl", "/tmp/new")])
//!             .expect(Succeeds),
//!     ]
//! }
//! # let _ = probes;
//! ```
//!
//! What each part means:
//!
//! - **id** `group/.../name`: permanent lower-case words. The first word is the group and the file's name.
//! - **`serves(clause, spec)`**: the clause of the policy that the entry tests (`filesystem.read_only[0]`,
//!   `process.syscalls`) and the clause of `SPEC.md` that requires it. A test fails when SPEC.md lacks it.
//! - **`requires`**: the requirement, one sentence, no full stop. The report prints it.
//! - **`script`**: statements `setup!`, `control!`, `attempt!` of the probe program (`palisade_probe::table` lists the
//!   operations), run in the order written and numbered from 0 over all of them, so `result(0)` is the first one's result.
//!   A set-up or control that fails inside makes the entry inconclusive. The **last** `attempt!` is what `expect` judges.
//! - **`control!`**: write one wherever a refusal of everything would look like success: the allowed twin of
//!   the attempt (read an allowed file next to a denied one). Without one, a plain `getpid` is the control.
//! - **`expect`**: see [`Expect`].
//! - **`outside`**: what the same statements show without a sandbox, see [`Outside`]. The default says: anything
//!   but what is expected inside. When the host refuses it too, the entry is *unsupported*, never *held*.
//! - **`canary`**: something of the lab that must not be touched, see [`Canary`].
//! - **workspace**: every case starts in `world.work.dir`, freshly made for it at that same path, so entries
//!   cannot disturb each other. `plant` adds files to it; paths relative to it are the simplest operands.
//! - **`needs`**: what the machine must offer, found out by trying. **`needs_planted`**: what the lab must have
//!   been able to prepare (`world.secret("etc-shadow").presence`).
//! - **`serial`**: for the few entries that look at something all cases share.
//!
//! Use operands that cannot act: bad pointers, descriptor -1, a wrong magic number. The same statements run
//! without a sandbox, perhaps as root, in the lab.

mod call;
mod canary;
mod entry;
mod expect;
mod narrowed;
pub mod prelude;
mod tags;

mod cap;
mod dev;
mod dns;
mod env;
mod exec;
mod fd;
mod fs;
mod ipc;
mod kern;
mod key;
mod l7;
mod life;
mod mnt;
mod net;
mod ns;
mod posture;
pub(crate) mod proc;
mod ps;
mod res;
mod sys;
mod sysfs;
mod time;
mod tty;
mod uring;
mod work;
mod xmem;

#[cfg(test)]
pub(crate) mod tests;

use palisade_policy::Policy;

pub use canary::{Canary, Stream};
pub use entry::{
    Action, BEFORE, Class, Interference, Look, Need, Outside, Planted, Probe, Severity, Streams, Tier,
    Workload,
};
pub(crate) use exec::FIRST;
pub use expect::{Expect, PROMPT};
pub use net::{model, ports};
pub use tags::{WORKS, tags};

use crate::lab::World;

/// A group of entries: its name, and the function that lists them for a policy.
pub struct Group {
    /// The first word of the ids of the group, and the name of its file.
    pub name: &'static str,
    /// The entries that apply to a policy in a lab.
    pub probes: fn(&World, &Policy) -> Vec<Probe>,
}

/// Every group. Add a new file here.
pub const GROUPS: &[Group] = &[
    Group { name: "cap", probes: cap::probes },
    Group { name: "dev", probes: dev::probes },
    Group { name: "dns", probes: dns::probes },
    Group { name: "env", probes: env::probes },
    Group { name: "exec", probes: exec::probes },
    Group { name: "fd", probes: fd::probes },
    Group { name: "fs", probes: fs::probes },
    Group { name: "ipc", probes: ipc::probes },
    Group { name: "kern", probes: kern::probes },
    Group { name: "key", probes: key::probes },
    Group { name: "l7", probes: l7::probes },
    Group { name: "life", probes: life::probes },
    Group { name: "mnt", probes: mnt::probes },
    Group { name: "net", probes: net::probes },
    Group { name: "ns", probes: ns::probes },
    Group { name: "posture", probes: posture::probes },
    Group { name: "proc", probes: proc::probes },
    Group { name: "ps", probes: ps::probes },
    Group { name: "res", probes: res::probes },
    Group { name: "sys", probes: sys::probes },
    Group { name: "sysfs", probes: sysfs::probes },
    Group { name: "time", probes: time::probes },
    Group { name: "tty", probes: tty::probes },
    Group { name: "uring", probes: uring::probes },
    Group { name: "work", probes: work::probes },
    Group { name: "xmem", probes: xmem::probes },
];

/// All entries that apply to `policy` in `world`, sorted by id.
pub fn all(world: &World, policy: &Policy) -> Vec<Probe> {
    let mut probes: Vec<Probe> = GROUPS.iter().flat_map(|group| (group.probes)(world, policy)).collect();
    probes.sort_by(|a, b| a.id.cmp(&b.id));
    // Where nothing of the network has to be reached, a sandbox may refuse the loopback with it; the probes of the
    // loopback itself tell that.
    for probe in probes.iter_mut().filter(|_| net::is_closed(policy)) {
        probe.as_a_whole = probe.class == Class::Denied && probe.needs_the_loopback();
    }
    narrowed::applying(probes, policy)
}

/// Whether `id` is lower-case words: `group/.../name`, each of words joined by `-`.
pub(crate) fn is_id(id: &str) -> bool {
    let word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let words: Vec<&str> = id.split('/').collect();
    words.len() >= 2 && words.iter().all(|part| part.split('-').all(word))
}
