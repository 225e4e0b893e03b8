//! How far a run is: one line on the terminal of standard error, rewritten while it goes on and wiped at its end.
//!
//! There is none where standard error is no terminal, where the report is for a program, or where the terminal cannot go back in a
//! line (`TERM=dumb`, or none). It has no colours. The one thread here writes; workers only count.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::verdict::Kind;

/// The time from one look at the counts to the next.
const TICK: Duration = Duration::from_millis(100);

/// From the start of a line, wiping it (ECMA-48: CR, EL).
const WIPE: &[u8] = b"\r\x1b[K";

/// A run that is told about. Dropping it wipes the line.
#[derive(Debug)]
pub(crate) struct Progress {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    counts: Mutex<Counts>,
    ended: Condvar,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    total: usize,
    done: usize,
    worst: Option<Kind>,
    over: bool,
}

impl Progress {
    /// Begins to tell about `total` probes, if anybody can read it and `wanted`.
    pub(crate) fn begin(total: usize, wanted: bool) -> Self {
        let shared = Arc::new(Shared {
            counts: Mutex::new(Counts { total, done: 0, worst: None, over: false }),
            ended: Condvar::new(),
        });
        let of_ticker = Arc::clone(&shared);
        // Without a thread there is no line, which is no reason not to verify.
        let ticker = (wanted && is_readable())
            .then(|| thread::Builder::new().name("progress".to_owned()).spawn(move || tick(&of_ticker)).ok())
            .flatten();
        Self { shared, ticker }
    }

    /// One more probe has this verdict.
    pub(crate) fn done(&self, kind: Kind) {
        let mut counts = lock(&self.shared.counts);
        counts.done += 1;
        counts.worst = match counts.worst {
            Some(worst) if rank(worst) <= rank(kind) => Some(worst),
            _ => Some(kind),
        };
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        lock(&self.shared.counts).over = true;
        self.shared.ended.notify_all();
        if let Some(ticker) = self.ticker.take() {
            // It panics at nothing that could matter here.
            let _ = ticker.join();
        }
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The worse a verdict is, the lower.
const fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::Breached => 0,
        Kind::OverBlocked => 1,
        Kind::UnexpectedPass => 2,
        Kind::Inconclusive => 3,
        Kind::Held => 4,
        Kind::KnownDeviation => 5,
        Kind::Unsupported => 6,
    }
}

fn is_readable() -> bool {
    let clever = std::env::var_os("TERM").is_some_and(|name| !name.is_empty() && name != "dumb");
    clever && io::stderr().is_terminal()
}

fn tick(shared: &Shared) {
    let start = Instant::now();
    let mut shown = String::new();
    let mut counts = lock(&shared.counts);
    while !counts.over {
        let now = line(*counts, start.elapsed(), columns());
        drop(counts);
        if now != shown {
            write(&[WIPE, now.as_bytes()].concat());
            shown = now;
        }
        let waited = shared.ended.wait_timeout_while(lock(&shared.counts), TICK, |counts| !counts.over);
        counts = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
    drop(counts);
    write(WIPE);
}

/// In one piece; a terminal that has gone away is not the run's business.
fn write(bytes: &[u8]) {
    let _ = io::stderr().lock().write_all(bytes);
}

/// The width of the terminal; of one that tells none, the usual one.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
    if size == 0 { 80 } else { size.into() }
}

/// Short enough not to go over into the next line, where wiping would not reach it.
fn line(counts: Counts, elapsed: Duration, columns: usize) -> String {
    let worst = counts.worst.map_or(String::new(), |kind| format!(", worst so far: {}", kind.word()));
    let mut line = format!("{}/{} probes, {} s{worst}", counts.done, counts.total, elapsed.as_secs());
    line.truncate(columns.saturating_sub(1));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_the_worst_of_all() {
        let progress = Progress::begin(3, false);
        assert!(progress.ticker.is_none());
        let mut seen = Vec::new();
        for kind in [Kind::Unsupported, Kind::Held, Kind::Breached, Kind::Inconclusive, Kind::Held] {
            progress.done(kind);
            seen.push(lock(&progress.shared.counts).worst.unwrap());
        }
        assert_eq!(seen, [Kind::Unsupported, Kind::Held, Kind::Breached, Kind::Breached, Kind::Breached]);
    }

    #[test]
    fn a_line_fits_its_terminal() {
        let counts = Counts { total: 1013, done: 17, worst: Some(Kind::OverBlocked), over: false };
        let time = Duration::from_millis(12_999);
        assert_eq!(line(counts, time, 80), "17/1013 probes, 12 s, worst so far: over-blocked");
        assert_eq!(line(counts, time, 10), "17/1013 p");
        assert_eq!(line(counts, time, 0), "");
    }
}
