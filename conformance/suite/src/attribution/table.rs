//! Operation by layer, summed up: for each group of probes, how much of what it denies each layer holds by itself.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Attribution, Finding, Layer};

/// A group under a layer: counts of probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// That the layer holds alone.
    pub alone: usize,
    /// That nothing holds without it.
    pub needed: usize,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Row {
    /// How many denials were held.
    pub held: usize,
    /// That two layers or more hold, each alone.
    pub in_depth: usize,
    /// That one layer holds alone, and no other.
    pub resting_on_one: usize,
    /// That several hold together, and none alone.
    pub together: usize,
    /// By layer, where there is something to count.
    pub layers: BTreeMap<Layer, Cell>,
    /// By finding.
    pub findings: BTreeMap<Finding, usize>,
}

/// All groups, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Table(pub BTreeMap<String, Row>);

impl Table {
    /// Sums up; each attribution comes with the group of its probe.
    pub fn of<'a>(all: impl IntoIterator<Item = (&'a str, &'a Attribution)>) -> Self {
        let mut table = Self::default();
        for (group, found) in all {
            let row = table.0.entry(group.to_owned()).or_default();
            row.held += 1;
            let alone = found.alone.len();
            row.in_depth += usize::from(alone > 1);
            row.resting_on_one += usize::from(alone == 1);
            let told = matches!(found.finding, Finding::AsDeclared | Finding::WrongReason);
            row.together += usize::from(alone == 0 && told);
            for layer in &found.alone {
                row.layers.entry(*layer).or_default().alone += 1;
            }
            for layer in &found.needed {
                row.layers.entry(*layer).or_default().needed += 1;
            }
            *row.findings.entry(found.finding).or_default() += 1;
        }
        table
    }

    /// The layers that hold anything, in the order of [`Layer::ALL`].
    pub fn layers(&self) -> Vec<Layer> {
        let any = |layer: &Layer| self.0.values().any(|row| row.layers.contains_key(layer));
        Layer::ALL.into_iter().filter(any).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        let found = |alone: &[Layer], needed: &[Layer], finding| Attribution {
            finding,
            alone: alone.to_vec(),
            needed: needed.to_vec(),
            owed: Vec::new(),
            untold: Vec::new(),
        };
        let all = [
            ("mnt", found(&[Layer::Capabilities, Layer::Seccomp], &[], Finding::AsDeclared)),
            ("mnt", found(&[Layer::Seccomp], &[Layer::Seccomp], Finding::AsDeclared)),
            ("fs", found(&[], &[], Finding::NoLayer)),
        ];
        let table = Table::of(all.iter().map(|(group, found)| (*group, found)));
        let row = &table.0["mnt"];
        assert_eq!((row.held, row.in_depth, row.resting_on_one, row.together), (2, 1, 1, 0));
        assert_eq!(row.layers[&Layer::Seccomp], Cell { alone: 2, needed: 1 });
        assert_eq!(table.0["fs"].findings, [(Finding::NoLayer, 1)].into());
        assert_eq!(table.layers(), [Layer::Capabilities, Layer::Seccomp]);
    }
}
