//! How much a policy file may cost to read. A file beyond any of these is refused, whatever it says.

/// The largest policy file, in bytes (1 MiB).
pub const MAX_BYTES: usize = 1 << 20;

/// The most rules of a policy: entries of all its lists and of `environment.set` together, ports apart.
pub const MAX_RULES: usize = 4096;

/// The most ports that one rule lists.
pub const MAX_PORTS: usize = 256;

/// The most resolvers.
pub const MAX_RESOLVERS: usize = 8;

/// The most published ports.
pub const MAX_PUBLISHED: usize = 64;

/// The deepest nesting of lists and maps. The language itself needs five.
pub const MAX_DEPTH: usize = 8;

/// The most problems that are kept and shown; the rest are counted.
pub const MAX_REPORTED: usize = 100;

/// The most YAML nodes, expanded aliases included.
pub(crate) const MAX_NODES: usize = 131_072;

/// The most YAML events that aliases expand to.
pub(crate) const MAX_REPLAYED: usize = 8192;

/// The most YAML anchors, and the most aliases.
pub(crate) const MAX_ALIASES: usize = 256;
