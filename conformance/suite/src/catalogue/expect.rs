//! Expectations: sets of observations.

use std::fmt;
use std::time::Duration;

use nix::errno::Errno::{self, *};
use nix::sys::signal::Signal;

use crate::glob;
use crate::observation::Seen;

/// How long a refused connection may take before it counts as hanging.
pub const PROMPT: Duration = Duration::from_secs(2);

/// A set of observations. An entry expects that what its last attempt shows lies in the set.
#[derive(Clone, Debug)]
pub enum Expect {
    /// Refused: EPERM, EACCES, ENOSYS, or killed by SIGSYS.
    Denied,
    /// Not there: ENOENT, ENOTDIR, ESRCH, ENXIO, ENODEV or ENODATA.
    Absent,
    /// Refused as a write: EROFS, EACCES or EPERM.
    ReadOnly,
    /// The protocol does not exist: EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT, or [`Expect::Denied`].
    NoFamily,
    /// No way there, said within [`PROMPT`]: ENETUNREACH, EHOSTUNREACH, ECONNREFUSED, EADDRNOTAVAIL,
    /// ENETDOWN, EACCES, EPERM, EINVAL of a blackhole route is *not* in it.
    Unreachable,
    /// [`Expect::Unreachable`], or ended within [`PROMPT`] before anything was answered: ECONNRESET, EPIPE, ENOENT of a name.
    /// What a sandbox shows whose means stand between the workload and the far side; the far side tells the rest.
    Refused,
    /// Exactly one of these errors.
    Fails(Vec<Errno>),
    /// Succeeds; a command: exit code 0.
    Succeeds,
    /// Succeeds and returns this.
    Returns(i64),
    /// Succeeds and returns this or less.
    AtMost(i64),
    /// Succeeds and returns this or more.
    AtLeast(i64),
    /// Succeeds and reports exactly this (a command: prints it).
    DataIs(Vec<u8>),
    /// Succeeds and reports anything but this.
    DataIsNot(Vec<u8>),
    /// Succeeds and reports something that contains this.
    DataContains(Vec<u8>),
    /// Succeeds and reports something that does not contain this.
    DataLacks(Vec<u8>),
    /// Succeeds and what it reports passes the test; the text says what the test wants.
    DataPasses(&'static str, fn(&[u8]) -> bool),
    /// Succeeds and reports something else than the same statements do outside: for what must be the sandbox's own, such as a
    /// namespace.
    DiffersFromOutside,
    /// Succeeds, and each line of its data matches one of these patterns ([`crate::glob`]).
    Lines(Vec<String>),
    /// Killed by this signal.
    Killed(Signal),
    /// A command that ends with this code, whatever it printed.
    ExitCode(i32),
    /// A command that printed something with this in it, whatever its code.
    Prints(Vec<u8>),
    /// A command that printed nothing with this in it, whatever its code.
    PrintsNot(Vec<u8>),
    /// After interference, no process of the case is left.
    NothingSurvives,
    /// The run was ended before the attempt returned, by a limit other than that of the wall time, and nothing of it is
    /// left.
    CutShort,
    /// The run was ended before the attempt returned, because its time was up, and nothing of it is left.
    OutOfTime,
    /// In one of these sets.
    AnyOf(Vec<Expect>),
    /// In all of these sets.
    AllOf(Vec<Expect>),
}

impl Expect {
    /// Exactly one of these errors.
    pub fn fails(errors: impl IntoIterator<Item = Errno>) -> Self {
        Self::Fails(errors.into_iter().collect())
    }

    /// Succeeds and reports exactly `data`.
    pub fn data_is(data: impl AsRef<[u8]>) -> Self {
        Self::DataIs(data.as_ref().to_vec())
    }

    /// Succeeds and reports something that contains `data`.
    pub fn data_contains(data: impl AsRef<[u8]>) -> Self {
        Self::DataContains(data.as_ref().to_vec())
    }

    /// Succeeds and reports something that lacks `data`.
    pub fn data_lacks(data: impl AsRef<[u8]>) -> Self {
        Self::DataLacks(data.as_ref().to_vec())
    }

    /// Succeeds and reports no line that matches none of these patterns.
    pub fn lines<S: Into<String>>(patterns: impl IntoIterator<Item = S>) -> Self {
        Self::Lines(patterns.into_iter().map(Into::into).collect())
    }

    /// In one of these sets.
    pub fn any_of(sets: impl IntoIterator<Item = Expect>) -> Self {
        Self::AnyOf(sets.into_iter().collect())
    }

    /// In all of these sets.
    pub fn all_of(sets: impl IntoIterator<Item = Expect>) -> Self {
        Self::AllOf(sets.into_iter().collect())
    }

    /// This set or that one.
    #[must_use]
    pub fn or(self, other: Expect) -> Self {
        match self {
            Self::AnyOf(mut sets) => {
                sets.push(other);
                Self::AnyOf(sets)
            }
            set => Self::AnyOf(vec![set, other]),
        }
    }

    /// The set with what was seen outside put in where it depends on it; `None` where that is not known.
    pub(crate) fn knowing(&self, outside: Option<&Seen>) -> Option<Self> {
        let all = |sets: &[Self]| sets.iter().map(|set| set.knowing(outside)).collect::<Option<Vec<Self>>>();
        Some(match self {
            Self::DiffersFromOutside => Self::DataIsNot(outside?.output()?.to_vec()),
            Self::AnyOf(sets) => Self::AnyOf(all(sets)?),
            Self::AllOf(sets) => Self::AllOf(all(sets)?),
            other => other.clone(),
        })
    }

    /// Whether `seen` lies in the set.
    pub fn contains(&self, seen: &Seen) -> bool {
        let errno_in = |errors: &[Errno]| seen.errno().is_some_and(|errno| errors.contains(&errno));
        let output_is = |test: &dyn Fn(&[u8]) -> bool| seen.output().is_some_and(test);
        match self {
            Self::Denied => {
                errno_in(&[EPERM, EACCES, ENOSYS]) || *seen == Seen::Signalled(Signal::SIGSYS as i32)
            }
            Self::Absent => errno_in(&[ENOENT, ENOTDIR, ESRCH, ENXIO, ENODEV, ENODATA]),
            Self::ReadOnly => errno_in(&[EROFS, EACCES, EPERM]),
            Self::NoFamily => {
                errno_in(&[EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT]) || Self::Denied.contains(seen)
            }
            Self::Unreachable => {
                let in_time = matches!(seen, Seen::Returned { took, .. } if *took <= PROMPT);
                in_time
                    && errno_in(&[
                        ENETUNREACH,
                        EHOSTUNREACH,
                        ECONNREFUSED,
                        EADDRNOTAVAIL,
                        ENETDOWN,
                        EAFNOSUPPORT,
                        EACCES,
                        EPERM,
                    ])
            }
            Self::Refused => {
                let in_time = matches!(seen, Seen::Returned { took, .. } if *took <= PROMPT);
                Self::Unreachable.contains(seen) || (in_time && errno_in(&[ECONNRESET, EPIPE, ENOENT]))
            }
            Self::Fails(errors) => errno_in(errors),
            Self::Succeeds => seen.output().is_some(),
            Self::Returns(value) => matches!(seen, Seen::Returned { ret, errno: 0, .. } if ret == value),
            Self::AtMost(most) => matches!(seen, Seen::Returned { ret, errno: 0, .. } if ret <= most),
            Self::AtLeast(least) => matches!(seen, Seen::Returned { ret, errno: 0, .. } if ret >= least),
            Self::DataIs(data) => output_is(&|output| output == data),
            Self::DataIsNot(data) => output_is(&|output| output != data),
            // Nothing is known about the outside here; the judge asks `knowing` first.
            Self::DiffersFromOutside => false,
            Self::DataContains(data) => output_is(&|output| find(output, data)),
            Self::DataLacks(data) => output_is(&|output| !find(output, data)),
            Self::Lines(patterns) => output_is(&|output| {
                let fits = |line: &str| patterns.iter().any(|pattern| glob::matches(pattern, line));
                std::str::from_utf8(output).is_ok_and(|text| text.lines().all(fits))
            }),
            Self::DataPasses(_, test) => output_is(test),
            Self::Killed(signal) => *seen == Seen::Signalled(*signal as i32),
            Self::ExitCode(wanted) => matches!(seen, Seen::Exited { code, .. } if code == wanted),
            Self::Prints(data) => matches!(seen, Seen::Exited { stdout, .. } if find(stdout, data)),
            Self::PrintsNot(data) => matches!(seen, Seen::Exited { stdout, .. } if !find(stdout, data)),
            Self::NothingSurvives => *seen == Seen::Survivors(0),
            Self::CutShort => matches!(seen, Seen::CutShort { out_of_time: false, .. }),
            Self::OutOfTime => matches!(seen, Seen::CutShort { out_of_time: true, .. }),
            Self::AnyOf(sets) => sets.iter().any(|set| set.contains(seen)),
            Self::AllOf(sets) => sets.iter().all(|set| set.contains(seen)),
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || haystack.windows(needle.len()).any(|window| window == needle)
}

impl Expect {
    /// The name of a set that SPEC.md defines, and its members.
    fn defined(&self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::Denied => ("denied", "EPERM, EACCES, ENOSYS or SIGSYS"),
            Self::Absent => ("absent", "ENOENT, ENOTDIR, ESRCH, ENXIO, ENODEV or ENODATA"),
            Self::ReadOnly => ("read-only", "EROFS, EACCES or EPERM"),
            Self::NoFamily => ("no such protocol", "EAFNOSUPPORT or denied"),
            Self::Unreachable => ("unreachable, said at once", "ENETUNREACH, ECONNREFUSED, EACCES, ..."),
            Self::Refused => ("refused at once", "unreachable, or ECONNRESET"),
            _ => return None,
        })
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |data: &[u8]| format!("\"{}\"", crate::report::escape(data));
        if let Some((name, members)) = self.defined() {
            // In a list of sets, names alone are easier to read.
            return if f.alternate() { f.write_str(name) } else { write!(f, "{name} ({members})") };
        }
        match self {
            Self::Denied
            | Self::Absent
            | Self::ReadOnly
            | Self::NoFamily
            | Self::Unreachable
            | Self::Refused => Ok(()),
            Self::Fails(errors) => {
                let names: Vec<String> = errors.iter().map(|errno| format!("{errno:?}")).collect();
                f.write_str(&names.join(" or "))
            }
            Self::Succeeds => f.write_str("success"),
            Self::Returns(value) => write!(f, "success, {value}"),
            Self::AtMost(most) => write!(f, "success, at most {most}"),
            Self::AtLeast(least) => write!(f, "success, at least {least}"),
            Self::DataIs(data) => write!(f, "exactly {}", quoted(data)),
            Self::DataIsNot(data) => write!(f, "anything but {}", quoted(data)),
            Self::DiffersFromOutside => f.write_str("something else than outside"),
            Self::DataContains(data) => write!(f, "data with {}", quoted(data)),
            Self::DataLacks(data) => write!(f, "data without {}", quoted(data)),
            Self::Lines(patterns) if patterns.is_empty() => f.write_str("nothing"),
            Self::Lines(patterns) => write!(f, "no line but {}", patterns.join(", ")),
            Self::DataPasses(what, _) => f.write_str(what),
            Self::Killed(signal) => write!(f, "killed by {signal}"),
            Self::ExitCode(code) => write!(f, "exit code {code}"),
            Self::Prints(data) => write!(f, "printed with {}", quoted(data)),
            Self::PrintsNot(data) => write!(f, "printed without {}", quoted(data)),
            Self::NothingSurvives => f.write_str("no process left"),
            Self::CutShort => f.write_str("the run ended before the attempt returns"),
            Self::OutOfTime => f.write_str("the run ended because its time was up"),
            Self::AnyOf(sets) => join(f, sets, " or "),
            Self::AllOf(sets) => join(f, sets, " and "),
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, sets: &[Expect], separator: &str) -> fmt::Result {
    let texts: Vec<String> = sets.iter().map(|set| format!("{set:#}")).collect();
    f.write_str(&texts.join(separator))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Expect::Denied, Seen::failed(EPERM), true)]
    #[case(Expect::Denied, Seen::failed(ENOSYS), true)]
    #[case(Expect::Denied, Seen::Signalled(31), true)]
    #[case(Expect::Denied, Seen::Signalled(11), false)]
    #[case(Expect::Denied, Seen::failed(EFAULT), false)]
    #[case(Expect::Denied, Seen::returned(0), false)]
    #[case(Expect::Absent, Seen::failed(ENOENT), true)]
    #[case(Expect::Absent, Seen::failed(EACCES), false)]
    #[case(Expect::ReadOnly, Seen::failed(EROFS), true)]
    #[case(Expect::ReadOnly, Seen::failed(ENOENT), false)]
    #[case(Expect::NoFamily, Seen::failed(EAFNOSUPPORT), true)]
    #[case(Expect::Unreachable, Seen::failed(ENETUNREACH), true)]
    #[case(Expect::Unreachable, Seen::failed(ETIMEDOUT), false)]
    #[case(Expect::Unreachable,
        Seen::Returned { ret: -1, errno: ECONNREFUSED as i32, data: vec![], took: Duration::from_secs(5) }, false)]
    #[case(Expect::Refused, Seen::failed(ENETUNREACH), true)]
    #[case(Expect::Refused, Seen::failed(ECONNRESET), true)]
    #[case(Expect::Refused, Seen::failed(ETIMEDOUT), false)]
    #[case(Expect::Refused, Seen::returned(0), false)]
    #[case(Expect::Refused,
        Seen::Returned { ret: -1, errno: ECONNRESET as i32, data: vec![], took: Duration::from_secs(5) }, false)]
    #[case(Expect::Succeeds, Seen::returned(3), true)]
    #[case(Expect::Succeeds, Seen::Exited { code: 1, stdout: vec![] }, false)]
    #[case(Expect::Returns(3), Seen::returned(3), true)]
    #[case(Expect::Returns(3), Seen::returned(4), false)]
    #[case(Expect::AtMost(3), Seen::returned(3), true)]
    #[case(Expect::AtMost(3), Seen::returned(4), false)]
    #[case(Expect::AtMost(3), Seen::failed(EPERM), false)]
    #[case(Expect::AtLeast(1), Seen::returned(1), true)]
    #[case(Expect::AtLeast(1), Seen::returned(0), false)]
    #[case(Expect::data_is("x"), Seen::reported("x"), true)]
    #[case(Expect::data_is("x"), Seen::reported("xy"), false)]
    #[case(Expect::data_contains("bc"), Seen::reported("abcd"), true)]
    #[case(Expect::data_lacks("bc"), Seen::reported("abcd"), false)]
    #[case(Expect::data_lacks("bc"), Seen::failed(ENOENT), false)]
    #[case(Expect::lines(["a *"]), Seen::reported("a b\na c\n"), true)]
    #[case(Expect::lines(["a *"]), Seen::reported("a b\nb\n"), false)]
    #[case(Expect::lines([""; 0]), Seen::reported(""), true)]
    #[case(Expect::lines([""; 0]), Seen::failed(ENOENT), false)]
    #[case(Expect::ExitCode(7), Seen::Exited { code: 7, stdout: vec![1] }, true)]
    #[case(Expect::Prints(b"b".to_vec()), Seen::Exited { code: 7, stdout: b"abc".to_vec() }, true)]
    #[case(Expect::PrintsNot(b"b".to_vec()), Seen::Exited { code: 7, stdout: b"abc".to_vec() }, false)]
    #[case(Expect::PrintsNot(b"b".to_vec()), Seen::Signalled(9), false)]
    #[case(Expect::NothingSurvives, Seen::Survivors(1), false)]
    #[case(Expect::CutShort, Seen::CutShort { out_of_time: false, code: 137 }, true)]
    #[case(Expect::CutShort, Seen::CutShort { out_of_time: true, code: 124 }, false)]
    #[case(Expect::CutShort, Seen::Exited { code: 137, stdout: vec![] }, false)]
    #[case(Expect::OutOfTime, Seen::CutShort { out_of_time: true, code: 124 }, true)]
    #[case(Expect::OutOfTime, Seen::Survivors(1), false)]
    #[case(Expect::Denied.or(Expect::Absent), Seen::failed(ENOENT), true)]
    #[case(Expect::all_of([Expect::data_contains("a"), Expect::data_lacks("b")]), Seen::reported("ab"), false)]
    fn membership(#[case] set: Expect, #[case] seen: Seen, #[case] inside: bool) {
        assert_eq!(set.contains(&seen), inside, "{set} and {seen}");
    }
}
