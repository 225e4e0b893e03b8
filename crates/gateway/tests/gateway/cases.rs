//! The tests, by what they are about. Each has addresses of its own outside, so that they can run at once.

mod names;
mod policy;
mod relay;

use crate::Case;

pub(crate) fn all() -> Vec<Case> {
    [policy::ALL, names::ALL, relay::ALL].concat()
}
