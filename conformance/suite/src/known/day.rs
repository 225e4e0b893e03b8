//! Days, for how long something is accepted.

use std::fmt;

use serde::Deserialize;

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

impl std::str::FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.to_owned().try_into()
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "1970-01-01")]
    #[case(951_782_400, "2000-02-29")]
    #[case(1_735_689_599, "2024-12-31")]
    #[case(1_735_689_600, "2025-01-01")]
    #[case(4_102_444_800, "2100-01-01")]
    fn days(#[case] seconds: u64, #[case] expected: &str) {
        assert_eq!(Day::of_unix_time(seconds), expected.parse().unwrap());
        assert_eq!(Day::of_unix_time(seconds).to_string(), expected);
    }
}
