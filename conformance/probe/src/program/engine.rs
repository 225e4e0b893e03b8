//! Runs a script: `NONCE STATEMENT...`.
//!
//! Set-up and control statements run here, in order. At the first attempt a child is forked that runs all
//! attempts, in order, so that a signal ends only the child; statements written after the first attempt run
//! when the child has ended. Few calls by design, for a strict filter must not stop the probe before the call
//! that it tests: a lone `sys` attempt costs write, clone, the call, write, exit, wait4, write, write, exit.

use crate::buffer::Terminated;
use crate::call::{Arena, Call};
use crate::decode::{Phase, Statement};
use crate::kernel::{self, Answer, Errno, Status};
use crate::ops;
use crate::output::{Data, Output};
use crate::raw::{self, Strings};
use crate::refusal;

/// Most statements in one script.
const STATEMENTS: usize = 256;

/// Exit code when the command line is no script.
const USAGE: i32 = 2;

struct Machine {
    output: Output<'static>,
    nonce: Terminated<'static>,
    environment: Strings,
    arena: Arena,
    results: [Option<i64>; STATEMENTS],
    data: Data,
}

/// The whole program. Returns the exit code: 0 when it reached its end, 2 for a command line that is no script.
pub(crate) fn main(mut args: Strings, environment: Strings) -> i32 {
    let _program = args.next();
    let (Some(nonce), Some(memory)) = (args.next(), raw::arena()) else {
        return usage(b"expected: NONCE PHASE:OPERATION OPERAND...");
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if nonce.is_empty() || nonce.len() > 64 || !nonce.iter().all(plain) {
        return usage(b"the nonce must be 1 to 64 letters, digits, - or _");
    }
    let script = args;
    if script.count() > STATEMENTS {
        return usage(b"more than 256 statements");
    }
    if !args.all(|text| Statement::parse(text).is_some()) {
        return usage(b"a statement must begin with s:, c: or a: and an operation");
    }
    let mut arena = Arena::new(memory);
    let Some(terminated) = arena.terminated(nonce) else { return usage(b"no memory") };
    let machine = Machine {
        output: Output { nonce },
        nonce: terminated,
        environment,
        arena,
        results: [None; STATEMENTS],
        data: Data::new(),
    };
    machine.run(script);
    0
}

impl Machine {
    fn run(mut self, script: Strings) {
        let mut attempted = false;
        for (index, statement) in statements(script) {
            if statement.phase != Phase::Attempt {
                self.step(index, statement);
            } else if !attempted {
                attempted = true;
                self.attempts(script);
            }
        }
        self.output.done();
    }

    /// Forks the child that runs all attempts, and says how it ended.
    fn attempts(&mut self, script: Strings) {
        let child = match kernel::fork() {
            Ok(0) => {
                for (index, statement) in statements(script) {
                    if statement.phase == Phase::Attempt {
                        self.step(index, statement);
                    }
                }
                raw::exit(0)
            }
            Ok(child) => child,
            Err(error) => return self.output.ended(b"nofork", u64::from(error.0)),
        };
        match kernel::wait(child, 0) {
            Ok(Status::Exited(code)) => self.output.ended(b"exit", u64::from(code)),
            Ok(Status::Signaled(signal) | Status::Stopped(signal)) => {
                self.output.ended(b"signal", u64::from(signal));
            }
            // Reaped by someone else, or wait4 is denied: no ENDED line, and the judge sees that it is missing.
            Err(_) => {}
        }
    }

    fn step(&mut self, index: usize, statement: Statement<'static>) {
        self.output.attempt(index, statement.phase);
        self.data.clear();
        let answer = self.perform(statement);
        self.results[index] = answer.ok();
        self.output.observed(index, statement.phase, answer, self.data.as_slice());
    }

    fn perform(&mut self, statement: Statement<'static>) -> Answer {
        let Some(operation) = ops::find(statement.operation) else {
            self.data.push(b"unknown op");
            return Err(Errno(refusal::UNKNOWN_OPERATION));
        };
        operation(&mut Call {
            statement,
            results: &self.results,
            nonce: self.nonce,
            environment: self.environment,
            arena: &mut self.arena,
            data: &mut self.data,
        })
    }
}

fn statements(script: Strings) -> impl Iterator<Item = (usize, Statement<'static>)> {
    // `main` has checked that every text parses, so nothing is left out and the numbers are right.
    script.filter_map(Statement::parse).enumerate()
}

fn usage(message: &[u8]) -> i32 {
    let line = crate::buffer::Buffer::<160>::of(&[b"palisade-probe: ", message, b"\n"]);
    let _ = kernel::write(2, line.as_slice());
    USAGE
}
