//! The Domain Name System, as far as a gateway speaks it: messages, the stub resolver inside, questions outside.

pub(crate) mod client;
pub(crate) mod message;
pub(crate) mod stub;
