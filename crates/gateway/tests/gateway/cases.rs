//! The tests, by what they are about. Each has addresses of its own outside, so that they can run at once.

mod measure;
mod names;
mod policy;
mod proxy;
mod publish;
mod random;
mod redirect;
mod relay;

use crate::Case;

pub(crate) fn all() -> Vec<Case> {
    [measure::ALL, policy::ALL, names::ALL, proxy::ALL, publish::ALL, random::ALL, redirect::ALL, relay::ALL]
        .concat()
}
