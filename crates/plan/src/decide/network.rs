//! The `network` section.

use palisade_policy::{Clause, NetworkMode, Policy, Posture};

use super::Draft;
use crate::step::Step;

const MODE: Clause = Clause::new("network.mode");
const METADATA: Clause = Clause::new("network.metadata");
const SPECIAL_USE: Clause = Clause::new("network.special_use");

/// A network namespace with nothing in it but a loopback of its own. Nothing is routed, so what is dialled beyond it
/// fails at once with ENETUNREACH, in the kernel.
pub(super) fn network(policy: &Policy, draft: &mut Draft) {
    draft.step(&MODE, Step::LoopbackUp {});
    let network = &policy.network;
    // An allowlist that lists nothing allows nothing.
    let closed = match network.mode {
        NetworkMode::None => true,
        NetworkMode::Allowlist => network.allow.is_empty(),
        NetworkMode::Open => false,
    };
    if !closed {
        // Neither a routeless namespace nor the host's network is a substitute: refused even under `degrade`.
        draft.refuse(
            &MODE,
            "this version has no gateway yet: it can only run without a network",
            Some("`network: {mode: none}`, or `--network none`"),
        );
        return;
    }
    let mechanism = "network namespace without routes";
    draft.enforced(&MODE, "none", mechanism);
    for (clause, posture) in [(METADATA, network.metadata), (SPECIAL_USE, network.special_use)] {
        if posture == Posture::Block {
            draft.enforced(&clause, "block", mechanism);
        }
    }
}
