//! The section `resources`, and quantities in general.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Reader;
use crate::policy::{Clause, Resources};
use crate::refusal::Refusal;
use crate::units::{ByteSize, check_cpu_time, parse_cpus, parse_duration};
use crate::yaml::Node;

pub(super) const KEYS: &[&str] =
    &["memory", "processes", "cpus", "cpu_time", "wall_time", "open_files", "file_size", "output"];

pub(super) fn read(reader: &mut Reader<'_>, section: Option<&Node>) -> Resources {
    let strictest = Resources::default();
    let Some(section) = section else { return strictest };
    reader.locate(Clause::new("resources"), section);
    let fields = reader.fields(section, "resources");
    let field = |key: &str| fields.get(key).copied();
    Resources {
        memory: field("memory").and_then(|node| reader.size(node, "resources.memory", Resources::MIN_MEMORY)),
        processes: field("processes")
            .and_then(|node| reader.amount(node, "resources.processes", Resources::PROCESSES))
            .unwrap_or(strictest.processes),
        millicpus: field("cpus")
            .and_then(|node| reader.quantity(node, "resources.cpus", "a number", parse_cpus)),
        cpu_time: field("cpu_time").and_then(|node| cpu_time(reader, node)),
        wall_time: field("wall_time").and_then(|node| reader.duration(node, "resources.wall_time")),
        open_files: field("open_files")
            .and_then(|node| reader.amount(node, "resources.open_files", Resources::OPEN_FILES))
            .unwrap_or(strictest.open_files),
        file_size: field("file_size")
            .and_then(|node| reader.size(node, "resources.file_size", ByteSize::default()))
            .unwrap_or(strictest.file_size),
        output: field("output").and_then(|node| reader.size(node, "resources.output", ByteSize::default())),
    }
}

fn cpu_time(reader: &mut Reader<'_>, node: &Node) -> Option<Duration> {
    let time = reader.duration(node, "resources.cpu_time")?;
    reader.parsed(node, check_cpu_time(time))
}

impl Reader<'_> {
    /// A size of at least `least`.
    pub(super) fn size(&mut self, node: &Node, clause: &'static str, least: ByteSize) -> Option<ByteSize> {
        let size: ByteSize = self.quantity(node, clause, "a size", str::parse)?;
        if size < least {
            self.report(node, format!("`{clause}` of {size} is too small"))
                .help(format!("it is at least {least}"));
            return None;
        }
        Some(size)
    }

    fn duration(&mut self, node: &Node, clause: &'static str) -> Option<Duration> {
        self.quantity(node, clause, "a duration", parse_duration)
    }

    fn quantity<T>(
        &mut self,
        node: &Node,
        clause: &'static str,
        wanted: &str,
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Option<T> {
        self.locate(Clause::new(clause), node);
        let Some(written) = self.scalar(node) else {
            self.wrong_kind(node, &format!("`{clause}`"), wanted);
            return None;
        };
        let quantity = parse(&written);
        self.parsed(node, quantity)
    }

    /// A plain number within `range`.
    fn amount(&mut self, node: &Node, clause: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        self.locate(Clause::new(clause), node);
        let number = self.whole(node, &format!("`{clause}`"))?;
        let amount = u32::try_from(number).ok().filter(|amount| range.contains(amount));
        if amount.is_none() {
            self.report(node, format!("`{clause}` of {number} is out of range")).help(format!(
                "it is from {} to {}",
                range.start(),
                range.end()
            ));
        }
        amount
    }
}
