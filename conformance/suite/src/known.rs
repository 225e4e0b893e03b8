//! Known deviations: breaches and over-blocks of a runtime that somebody has accepted for a time.
//!
//! Each runtime has a file in `conformance/known/`, which is part of the program. An entry turns a breach into
//! a *known deviation*; it never hides one: an entry that has expired, or whose probe is held again, fails the run.

use serde::Deserialize;

use crate::glob;
use crate::verdict::Verdict;

/// One accepted deviation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    /// Pattern over probe ids.
    pub probe: String,
    /// What happens instead, and why that is accepted.
    pub reason: String,
    /// Where it is tracked.
    pub link: String,
    /// Who answers for it.
    pub owner: String,
    /// The last day on which it is accepted.
    pub expires: Day,
}

/// A day of the Gregorian calendar, UTC: `2027-01-31`. Ordered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Day {
    year: u32,
    month: u32,
    day: u32,
}

impl Day {
    /// The day of a time given in seconds since 1970-01-01.
    pub fn of_unix_time(seconds: u64) -> Self {
        // Days to civil date, after Howard Hinnant, "chrono-compatible low-level date algorithms".
        let days = u32::try_from(seconds / 86_400).unwrap_or(u32::MAX / 2) + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Self { year: year_of_era + era * 400 + u32::from(month <= 2), month, day }
    }
}

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a day such as 2027-01-31");
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts.as_slice() else { return Err(wrong()) };
        let number = |part: &str, digits: usize| {
            let plain = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
            if plain { part.parse().map_err(|_| wrong()) } else { Err(wrong()) }
        };
        let date = Self { year: number(year, 4)?, month: number(month, 2)?, day: number(day, 2)? };
        if !(1..=12).contains(&date.month) || !(1..=31).contains(&date.day) {
            return Err(wrong());
        }
        Ok(date)
    }
}

/// The deviations of a runtime, as built into the program. A runtime without a file has none.
///
/// # Errors
/// When the file does not parse: a mistake in the repository, which a test finds.
pub fn of_runtime(runtime: &str) -> Result<Vec<Deviation>, String> {
    match runtime {
        "palisade" => parse(include_str!("../../known/palisade.yaml")),
        _ => Ok(Vec::new()),
    }
}

/// Reads a file of deviations.
///
/// # Errors
/// An unknown or missing key, an empty value, a day that is none.
pub fn parse(text: &str) -> Result<Vec<Deviation>, String> {
    let entries: Vec<Deviation> = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    for entry in &entries {
        let values = [&entry.probe, &entry.reason, &entry.link, &entry.owner];
        if values.iter().any(|value| value.trim().is_empty()) {
            return Err(format!("known deviation {:?}: a value is empty", entry.probe));
        }
    }
    Ok(entries)
}

/// Applies the deviations that cover the probe `id` to its verdict.
pub fn apply(verdict: Verdict, id: &str, deviations: &[Deviation], today: Day) -> Verdict {
    let Some(known) = deviations.iter().find(|known| glob::matches(&known.probe, id)) else { return verdict };
    let expired = known.expires < today;
    match verdict {
        Verdict::Breached(_) | Verdict::OverBlocked(_) if !expired => {
            Verdict::KnownDeviation(format!("{} ({}, {})", known.reason, known.owner, known.link))
        }
        Verdict::Breached(why) => Verdict::Breached(format!("{why}; its known deviation has expired")),
        Verdict::OverBlocked(why) => Verdict::OverBlocked(format!("{why}; its known deviation has expired")),
        Verdict::Held => {
            Verdict::UnexpectedPass(format!("held, but known/ lists it ({}): delete the entry", known.reason))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Kind;
    use rstest::rstest;

    const ENTRY: &str = "- {probe: 'net/*', reason: r, link: l, owner: o, expires: 2027-01-31}\n";

    fn day(text: &str) -> Day {
        Day::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn the_files_of_the_repository_parse() {
        for runtime in crate::adapters::NAMES {
            of_runtime(runtime).unwrap();
        }
    }

    #[rstest]
    #[case::breach(Verdict::Breached(String::new()), "net/x", "2027-01-31", Kind::KnownDeviation)]
    #[case::expired(Verdict::Breached(String::new()), "net/x", "2027-02-01", Kind::Breached)]
    #[case::over_blocked(Verdict::OverBlocked(String::new()), "net/x", "2026-01-01", Kind::KnownDeviation)]
    #[case::held_again(Verdict::Held, "net/x", "2026-01-01", Kind::UnexpectedPass)]
    #[case::held_after_expiry(Verdict::Held, "net/x", "2028-01-01", Kind::UnexpectedPass)]
    #[case::other_probe(Verdict::Breached(String::new()), "fs/x", "2026-01-01", Kind::Breached)]
    #[case::unsupported(Verdict::Unsupported(String::new()), "net/x", "2026-01-01", Kind::Unsupported)]
    fn application(#[case] verdict: Verdict, #[case] id: &str, #[case] today: &str, #[case] expected: Kind) {
        let known = parse(ENTRY).unwrap();
        assert_eq!(apply(verdict, id, &known, day(today)).kind(), expected);
    }

    #[rstest]
    #[case::unknown_key(ENTRY.replace("owner: o", "owner: o, x: y"))]
    #[case::missing_key(ENTRY.replace(", owner: o", ""))]
    #[case::empty_value(ENTRY.replace("reason: r", "reason: ''"))]
    #[case::not_a_day(ENTRY.replace("2027-01-31", "2027-13-31"))]
    #[case::not_a_list("probe: x\n".to_owned())]
    fn refused(#[case] text: String) {
        assert!(parse(&text).is_err());
    }

    #[rstest]
    #[case(0, "1970-01-01")]
    #[case(951_782_400, "2000-02-29")]
    #[case(1_735_689_599, "2024-12-31")]
    #[case(1_735_689_600, "2025-01-01")]
    #[case(4_102_444_800, "2100-01-01")]
    fn days(#[case] seconds: u64, #[case] expected: &str) {
        assert_eq!(Day::of_unix_time(seconds), day(expected));
    }
}
