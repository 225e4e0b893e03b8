//! The operations of the probe program: names, operands, documentation.

#[macro_use]
#[path = "program/ops/table.rs"]
mod list;

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpInfo {
    /// The file of `src/program/ops/` that holds it.
    pub family: &'static str,
    /// The word that stands after the phase in a statement.
    pub name: &'static str,
    /// Its operands: `[X]` is optional, `X...` is one or more.
    pub args: &'static str,
    /// What it does, and what `ret` and `data` of its observation are.
    pub doc: &'static str,
}

impl OpInfo {
    /// Fewest operands.
    pub fn fewest(&self) -> usize {
        self.args.split_whitespace().filter(|word| !word.starts_with('[')).count()
    }

    /// Most operands; `None` where there is no bound.
    pub fn most(&self) -> Option<usize> {
        (!self.args.contains("...")).then(|| self.args.split_whitespace().count())
    }
}

macro_rules! infos {
    ($($family:ident { $($(#[doc = $doc:literal])+ $name:ident($operands:literal);)+ })+) => {
        /// Every operation, in the order of the list.
        pub const OPS: &[OpInfo] = &[$($(OpInfo {
            family: stringify!($family),
            name: stringify!($name),
            args: $operands,
            doc: concat!($($doc),+),
        },)+)+];
    };
}

operations!(infos);

/// The operation of that name.
pub fn find(name: &str) -> Option<&'static OpInfo> {
    OPS.iter().find(|info| info.name == name)
}
