//! What came back: the lines of the probe program, found in whatever a sandbox printed.
//!
//! The output is hostile. A line counts only with the exact nonce of the run and in the exact form; the first
//! line about a statement is the one that counts, and everything odd is kept as an anomaly, so that the judge can
//! decline to believe a transcript.

use std::collections::BTreeSet;

use crate::script::Phase;

/// The observation of one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The number of the statement.
    pub index: usize,
    /// The phase it was run in.
    pub phase: Phase,
    /// The result; -1 where `errno` is not 0.
    pub ret: i64,
    /// 0 for success; the kernel's error number; or one of [`refusal`](crate::refusal).
    pub errno: u16,
    /// What the operation reports; at most 2048 bytes.
    pub data: Vec<u8>,
}

impl Observed {
    /// The data as text, with what is not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
}

/// How the child that ran the attempts ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited; 0 unless an attempt said otherwise.
    Exit(u8),
    /// A signal ended it.
    Signal(u8),
    /// It was never there: clone failed with this error number.
    NoFork(u16),
}

/// Everything that one run of the program said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// In the order in which they were printed, at most one for each statement.
    pub observations: Vec<Observed>,
    /// The statements that were begun.
    pub attempted: BTreeSet<usize>,
    /// How the attempts ended; `None` where there were none or where the program did not get that far.
    pub ended: Option<Ended>,
    /// Whether the program reached its end.
    pub done: bool,
    /// Lines with the right nonce that should not be there: a second observation of one statement, an
    /// observation without its attempt, a line in no known form. A transcript with any of them was tampered with.
    pub anomalies: Vec<String>,
}

impl Transcript {
    /// The observation of statement `index`.
    pub fn observed(&self, index: usize) -> Option<&Observed> {
        self.observations.iter().find(|observed| observed.index == index)
    }

    /// The last observation of an attempt.
    pub fn last_attempt(&self) -> Option<&Observed> {
        self.observations.iter().rev().find(|observed| observed.phase == Phase::Attempt)
    }
}

enum Event {
    Attempt(usize),
    Observed(Observed),
    Ended(Ended),
    Done,
}

/// Finds the lines of the run with this nonce in `output`, which may hold anything else besides.
///
/// A line may begin in the middle of another: a program that the probe executed need not end its last one.
pub fn parse_output(output: &[u8], nonce: &str) -> Transcript {
    let mut transcript = Transcript::default();
    let marker = format!("PALISADE {nonce} ");
    for line in output.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(start) = rfind(line, marker.as_bytes()) else { continue };
        let words = &line[start + marker.len()..];
        let event = std::str::from_utf8(words).ok().and_then(event);
        if !transcript.accept(event) {
            transcript.anomalies.push(String::from_utf8_lossy(words).into_owned());
        }
    }
    transcript
}

impl Transcript {
    /// Takes the event in; `false` where it does not belong.
    fn accept(&mut self, event: Option<Event>) -> bool {
        match event {
            Some(Event::Attempt(index)) => self.attempted.insert(index),
            Some(Event::Observed(observed)) => {
                let expected =
                    self.attempted.contains(&observed.index) && self.observed(observed.index).is_none();
                if expected {
                    self.observations.push(observed);
                }
                expected
            }
            Some(Event::Ended(ended)) => {
                let first = self.ended.is_none();
                self.ended.get_or_insert(ended);
                first
            }
            Some(Event::Done) => !std::mem::replace(&mut self.done, true),
            None => false,
        }
    }
}

fn rfind(line: &[u8], marker: &[u8]) -> Option<usize> {
    line.windows(marker.len()).rposition(|window| window == marker)
}

fn event(words: &str) -> Option<Event> {
    let words: Vec<&str> = words.split(' ').collect();
    match *words.as_slice() {
        ["ATTEMPT", index, phase] => {
            parse_phase(phase)?;
            Some(Event::Attempt(number(index)?))
        }
        ["OBSERVED", index, phase, ret, errno, data] => {
            let observed = Observed {
                index: number(index)?,
                phase: parse_phase(phase)?,
                ret: ret.strip_prefix("ret=")?.parse().ok()?,
                errno: number(errno.strip_prefix("errno=")?)?,
                data: hex(data.strip_prefix("data=")?)?,
            };
            (observed.errno == 0 || observed.ret == -1).then_some(Event::Observed(observed))
        }
        ["ENDED", "a", how] => {
            let (what, value) = how.split_once('=')?;
            Some(Event::Ended(match what {
                "exit" => Ended::Exit(number(value)?),
                "signal" => Ended::Signal(number(value)?),
                "nofork" => Ended::NoFork(number(value)?),
                _ => return None,
            }))
        }
        ["DONE"] => Some(Event::Done),
        _ => None,
    }
}

/// Digits only: `parse` alone would take a plus sign.
fn number<T: std::str::FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn parse_phase(word: &str) -> Option<Phase> {
    let mut letters = word.chars();
    let phase = Phase::from_letter(letters.next()?)?;
    letters.next().is_none().then_some(phase)
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    if digits == "-" {
        return Some(Vec::new());
    }
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    digits
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| u8::try_from(nibble(pair[0])? * 16 + nibble(pair[1])?).ok())
        .collect()
}

fn nibble(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16)
}
