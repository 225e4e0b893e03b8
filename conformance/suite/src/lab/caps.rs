//! Capabilities of the suite's own processes (capabilities(7)).
//!
//! In a rootless lab the suite keeps an ordinary uid, so `execve` would drop what `unshare` gave. The stages pass their
//! capabilities on through the ambient set; the last stage empties that set, so that everything that it starts
//! (runtimes, control runs, the decoy) begins with none.

use rustix::io;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, set_capabilities,
};

/// True when the process may administer the namespaces that it stands in.
pub(super) fn may_administer() -> io::Result<bool> {
    Ok(capabilities(None)?.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Makes all permitted capabilities survive the next `execve`.
pub(super) fn keep_over_exec() -> io::Result<()> {
    let sets = capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: sets.permitted, ..sets })?;
    for capability in sets.permitted.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Empties the ambient and inheritable sets: children of an ordinary uid start without capabilities, the process keeps
/// what it has.
pub(super) fn lose_over_exec() -> io::Result<()> {
    clear_ambient_capability_set()?;
    let sets = capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: CapabilitySet::empty(), ..sets })
}
