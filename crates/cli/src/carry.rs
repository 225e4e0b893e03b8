//! The flags that say by which means the network is carried, read and applied.

use palisade_policy::{Link, Policy, Refusal};

use crate::arguments::Carry;
use crate::message;
use crate::source::Told;

/// Has `policy` carried as the flags say. Tells the user what is wrong with them.
pub(crate) fn carry(policy: &mut Policy, flags: &Carry) -> Result<(), Told> {
    let refused = |flag: &str, refusal: &Refusal| {
        message::error(format!("--{flag}: {}", refusal.message), Some(&refusal.help));
        Told
    };
    if let Some(name) = &flags.backend {
        policy.network.backend = name.parse().map_err(|refusal| refused("backend", &refusal))?;
    }
    if let Some(text) = &flags.link {
        policy.network.link = Some(Link::parse(text).map_err(|refusal| refused("link", &refusal))?);
    }
    Ok(())
}
