//! Quantities that carry their unit in their type.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::diagnostic::printable;
use crate::refusal::Refusal;

/// A number of bytes.
///
/// Written in a policy with a unit (`512MiB`, `64KiB`, `1GiB`, `4096B`); a bare number is refused there.
/// Serialized in plans and reports as a plain number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(u64);

impl ByteSize {
    /// A size of exactly `bytes` bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size of `mib` mebibytes (2^20 bytes), saturating at `u64::MAX` bytes.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    /// The largest binary unit that divides the size exactly, so that no digit is lost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// The units of sizes with their value in bytes.
const SIZES: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// The units of durations with their value in milliseconds.
const DURATIONS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

/// The longest duration: a year of 365 days.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

/// From a hundredth of a processor to 1024 of them, in thousandths.
const MILLICPUS: RangeInclusive<u32> = 10..=1_024_000;

impl FromStr for ByteSize {
    type Err = Refusal;

    /// Reads a size as a policy writes it: a whole number and directly after it one of `B`, `KiB`, `MiB`, `GiB`,
    /// `TiB`, all powers of 1024. Decimal units (`MB`) are refused, so that nobody has to guess which of their two
    /// meanings is meant.
    ///
    /// # Errors
    ///
    /// No unit, an unknown unit, a fraction, or more than 2^63 - 1 bytes (the kernel's `loff_t`).
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let (number, unit) = split(text, "size", "512MiB", &SIZES, size_unit)?;
        let bytes = number.checked_mul(unit).filter(|&bytes| i64::try_from(bytes).is_ok());
        bytes.map(Self).ok_or_else(|| {
            Refusal::new(format!("size `{}` is too large", printable(text)), "the largest size is 8388607TiB")
        })
    }
}

/// Reads a duration as a policy writes it: a whole number and directly after it one of `ms`, `s`, `m`, `h`.
///
/// # Errors
///
/// No unit, an unknown unit, a fraction, nothing at all (`0s`), or more than 365 days.
pub fn parse_duration(text: &str) -> Result<Duration, Refusal> {
    let (number, unit) = split(text, "duration", "60s", &DURATIONS, duration_unit)?;
    let shown = printable(text);
    if number == 0 {
        let message = format!("duration `{shown}` leaves no time at all");
        return Err(Refusal::new(message, "without the key there is no limit"));
    }
    let duration = number.checked_mul(unit).map(Duration::from_millis).filter(|&time| time <= MAX_DURATION);
    duration.ok_or_else(|| {
        Refusal::new(format!("duration `{shown}` is too long"), "the longest duration is 8760h")
    })
}

/// Passes on a limit of processor time that the kernel can keep.
///
/// # Errors
///
/// Not in whole seconds: the kernel counts it so (`RLIMIT_CPU`, setrlimit(2)).
pub fn check_cpu_time(time: Duration) -> Result<Duration, Refusal> {
    if time.subsec_nanos() == 0 {
        return Ok(time);
    }
    let message = format!("processor time of {time:?} is not in whole seconds");
    Err(Refusal::new(message, "the kernel counts it in seconds (RLIMIT_CPU, setrlimit(2))"))
}

/// Reads a number of processors, such as `2` or `1.5`, in thousandths of one.
///
/// # Errors
///
/// Not a plain decimal number, more than three decimal places, less than 0.01 or more than 1024.
pub fn parse_cpus(text: &str) -> Result<u32, Refusal> {
    let shown = printable(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        let message = format!("`{shown}` is not a number of processors");
        return Err(Refusal::new(message, "write a plain number, such as 1.5"));
    }
    if fraction.len() > 3 {
        let message = format!("number of processors `{shown}` is too fine");
        return Err(Refusal::new(message, "use at most three decimal places"));
    }
    let whole: Option<u32> = whole.parse().ok();
    let fraction: Option<u32> = format!("{fraction:0<3}").parse().ok();
    let millicpus =
        whole.zip(fraction).and_then(|(whole, fraction)| whole.checked_mul(1000)?.checked_add(fraction));
    millicpus.filter(|millicpus| MILLICPUS.contains(millicpus)).ok_or_else(|| {
        Refusal::new(format!("number of processors `{shown}` is out of range"), "it is from 0.01 to 1024")
    })
}

/// Splits `text` into its number and the value of its unit.
fn split(
    text: &str,
    what: &str,
    example: &str,
    units: &[(&str, u64)],
    guess: fn(&str) -> Option<&'static str>,
) -> Result<(u64, u64), Refusal> {
    let shown = printable(text);
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let names = units.iter().map(|&(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if digits.is_empty() {
        let help = format!("write a whole number and one of {names}, such as `{example}`");
        return Err(Refusal::new(format!("`{shown}` is not a {what}"), help));
    }
    if unit.is_empty() {
        let help = format!("add one of {names}, such as `{example}`");
        return Err(Refusal::new(format!("{what} `{shown}` has no unit"), help));
    }
    if unit.starts_with(['.', ',']) {
        let help = "use a smaller unit: `1536MiB` is one and a half GiB, `90s` one and a half minutes";
        return Err(Refusal::new(format!("{what} `{shown}` is not a whole number"), help));
    }
    let Some(&(_, value)) = units.iter().find(|&&(name, _)| name == unit) else {
        let help = match guess(unit.trim()) {
            Some(meant) => format!("write `{}{meant}`; units are {names}", printable(digits)),
            None => format!("units are {names}"),
        };
        return Err(Refusal::new(format!("unknown unit `{}` in {what} `{shown}`", printable(unit)), help));
    };
    let number = digits.parse();
    let number = number.map_err(|_| {
        Refusal::new(format!("{what} `{shown}` is too large"), format!("write it as `{example}`"))
    })?;
    Ok((number, value))
}

/// The unit of size that somebody who wrote `unit` most likely means.
fn size_unit(unit: &str) -> Option<&'static str> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "b" | "byte" | "bytes" => "B",
        "k" | "kb" | "ki" | "kib" => "KiB",
        "m" | "mb" | "mi" | "mib" => "MiB",
        "g" | "gb" | "gi" | "gib" => "GiB",
        "t" | "tb" | "ti" | "tib" => "TiB",
        _ => return None,
    })
}

/// The unit of time that somebody who wrote `unit` most likely means.
fn duration_unit(unit: &str) -> Option<&'static str> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "ms" | "msec" | "millis" | "milliseconds" => "ms",
        "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0B", 0)]
    #[case("4096B", 4096)]
    #[case("64KiB", 64 << 10)]
    #[case("512MiB", 512 << 20)]
    #[case("3GiB", 3 << 30)]
    #[case("8388607TiB", 8_388_607 << 40)]
    fn reads_sizes(#[case] text: &str, #[case] bytes: u64) {
        assert_eq!(text.parse(), Ok(ByteSize::from_bytes(bytes)));
    }

    #[rstest]
    #[case("", "`` is not a size")]
    #[case("many", "`many` is not a size")]
    #[case("-1B", "`-1B` is not a size")]
    #[case("512", "size `512` has no unit")]
    #[case("1.5GiB", "size `1.5GiB` is not a whole number")]
    #[case("512MB", "unknown unit `MB` in size `512MB`")]
    #[case("512 MiB", "unknown unit ` MiB` in size `512 MiB`")]
    #[case("512mib", "unknown unit `mib` in size `512mib`")]
    #[case("8388608TiB", "size `8388608TiB` is too large")]
    #[case("99999999999999999999B", "size `99999999999999999999B` is too large")]
    fn refuses_sizes(#[case] text: &str, #[case] message: &str) {
        assert_eq!(text.parse::<ByteSize>().unwrap_err().message, message);
    }

    #[rstest]
    #[case("500ms", 500)]
    #[case("60s", 60_000)]
    #[case("5m", 300_000)]
    #[case("1h", 3_600_000)]
    #[case("8760h", 8760 * 3_600_000)]
    fn reads_durations(#[case] text: &str, #[case] millis: u64) {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
    }

    #[rstest]
    #[case("60", "duration `60` has no unit")]
    #[case("0s", "duration `0s` leaves no time at all")]
    #[case("5 min", "unknown unit ` min` in duration `5 min`")]
    #[case("5M", "unknown unit `M` in duration `5M`")]
    #[case("1h30m", "unknown unit `h30m` in duration `1h30m`")]
    #[case("8761h", "duration `8761h` is too long")]
    fn refuses_durations(#[case] text: &str, #[case] message: &str) {
        assert_eq!(parse_duration(text).unwrap_err().message, message);
    }

    #[rstest]
    #[case("1", 1000)]
    #[case("1.5", 1500)]
    #[case("0.01", 10)]
    #[case("0.125", 125)]
    #[case("1024", 1_024_000)]
    fn reads_processors(#[case] text: &str, #[case] millicpus: u32) {
        assert_eq!(parse_cpus(text), Ok(millicpus));
    }

    #[rstest]
    #[case("")]
    #[case("1.")]
    #[case(".5")]
    #[case("-1")]
    #[case("1e3")]
    #[case("0.009")]
    #[case("0.0100")]
    #[case("1024.001")]
    #[case("99999999999")]
    fn refuses_processors(#[case] text: &str) {
        assert!(parse_cpus(text).is_err());
    }

    #[rstest]
    #[case("512MB", "512MiB")]
    #[case("64k", "64KiB")]
    fn suggests_the_unit_that_was_meant(#[case] text: &str, #[case] meant: &str) {
        assert!(text.parse::<ByteSize>().unwrap_err().help.contains(meant));
    }

    proptest! {
        #[test]
        fn reads_what_it_displays(bytes in 0..=i64::MAX.cast_unsigned()) {
            let size = ByteSize::from_bytes(bytes);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }
    }
}
