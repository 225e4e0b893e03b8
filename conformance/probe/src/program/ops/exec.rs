//! Executing files, and executing what was just written.
//!
//! The program runs in a child with its output in a pipe, so that what it prints becomes data and not part of the
//! transcript. Its own image, where an operation runs it, is started with the nonce `x` and no statements.

use crate::buffer::{Path, Terminated};
use crate::call::Call;
use crate::child;
use crate::kernel::{
    self, Answer, EPROTO, Errno, Fd, O_CLOEXEC, O_CREAT, O_EXCL, O_RDONLY, O_WRONLY, Status, nr,
};
use crate::raw;

const AT_EMPTY_PATH: usize = 0x1000;
/// Most arguments of `exec`.
const ARGUMENTS: usize = 8;

/// What is executed.
enum Target {
    Path(Terminated<'static>),
    Open(Fd),
}

pub(super) fn exec(call: &mut Call<'_>) -> Answer {
    let path = call.text(0)?;
    let mut arguments = [0; ARGUMENTS + 2];
    arguments[0] = path.address();
    for (place, text) in arguments[1..].iter_mut().zip(call.texts::<ARGUMENTS>(1)?.into_iter().flatten()) {
        *place = text.address();
    }
    execute(call, &Target::Path(path), &arguments)
}

pub(super) fn exec_ok(call: &mut Call<'_>) -> Answer {
    match exec(call)? {
        0 => Ok(0),
        _ => Err(EPROTO),
    }
}

pub(super) fn execveat_empty(call: &mut Call<'_>) -> Answer {
    let opened = if call.has(0) { kernel::open(call.text(0)?, O_RDONLY | O_CLOEXEC, 0) } else { own_image() };
    let fd = call.step(b"open", opened)?;
    let answer = execute_own(call, &Target::Open(fd));
    kernel::close(fd);
    answer
}

pub(super) fn memfd_exec(call: &mut Call<'_>) -> Answer {
    const MEMFD_CREATE: usize = 319;
    const MFD_CLOEXEC: usize = 1;
    let mut name = Path::of(&[b"probe"]);
    let created = kernel::call(MEMFD_CREATE, [name.terminated().address(), MFD_CLOEXEC]);
    let fd = call.step(b"memfd_create", created)?;
    let copied = copy_own_image(fd);
    let answer = call.step(b"image", copied).and_then(|()| execute_own(call, &Target::Open(fd)));
    kernel::close(fd);
    answer
}

pub(super) fn copy_exec(call: &mut Call<'_>) -> Answer {
    let path = call.text(0)?;
    let created = kernel::open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o755);
    let fd = call.step(b"create", created)?;
    let copied = copy_own_image(fd);
    // Closed before the execution: a file that is open for writing is ETXTBSY.
    kernel::close(fd);
    call.step(b"image", copied)?;
    execute_own(call, &Target::Path(path))
}

fn own_image() -> Result<Fd, Errno> {
    kernel::open(Path::of(&[b"/proc/self/exe"]).terminated(), O_RDONLY | O_CLOEXEC, 0)
}

fn copy_own_image(to: Fd) -> Result<(), Errno> {
    let from = own_image()?;
    let mut chunk = [0; 4096];
    let copied = loop {
        match kernel::read(from, &mut chunk) {
            Ok(0) => break Ok(()),
            Ok(count) => match kernel::write(to, &chunk[..count]) {
                Ok(written) if written == count => {}
                other => break Err(other.err().unwrap_or(EPROTO)),
            },
            Err(error) => break Err(error),
        }
    };
    kernel::close(from);
    copied
}

fn execute_own(call: &mut Call<'_>, target: &Target) -> Answer {
    let name = call.arena.terminated(b"probe").ok_or(EPROTO)?;
    let nonce = call.arena.terminated(b"x").ok_or(EPROTO)?;
    execute(call, target, &[name.address(), nonce.address(), 0])
}

/// `arguments` ends in a null pointer. The answer is the exit code, or 128 and the signal; the error is that of
/// execve.
fn execute(call: &mut Call<'_>, target: &Target, arguments: &[usize]) -> Answer {
    let piped = kernel::pipe();
    let (output, output_end) = call.step(b"pipe2", piped)?;
    let piped = kernel::pipe();
    let (failure, failure_end) = call.step(b"pipe2", piped)?;
    let environment = call.environment.address();
    let forked = child::fork_with(|| {
        let error = become_program(target, arguments, environment, output_end);
        let _ = kernel::write(failure_end, &error.0.to_ne_bytes());
        raw::exit(127)
    });
    kernel::close(output_end);
    kernel::close(failure_end);
    let answer = match call.step(b"fork", forked) {
        Ok(child) => collect(call, child, output, failure),
        Err(error) => Err(error),
    };
    kernel::close(output);
    kernel::close(failure);
    answer
}

/// Runs in the child; returns only when it failed.
fn become_program(target: &Target, arguments: &[usize], environment: usize, output: Fd) -> Errno {
    const EXECVE: usize = 59;
    const EXECVEAT: usize = 322;
    let pointer = arguments.as_ptr() as usize;
    for stream in [1, 2] {
        if let Err(error) = kernel::call(nr::DUP3, [output, stream, 0]) {
            return error;
        }
    }
    let result = match target {
        Target::Path(path) => kernel::call(EXECVE, [path.address(), pointer, environment]),
        Target::Open(fd) => {
            let mut empty = Path::new();
            let operands = [*fd, empty.terminated().address(), pointer, environment, AT_EMPTY_PATH];
            kernel::call(EXECVEAT, operands)
        }
    };
    result.err().unwrap_or(EPROTO)
}

fn collect(call: &mut Call<'_>, child: usize, output: Fd, failure: Fd) -> Answer {
    let mut error = [0; 2];
    // The execution closes the child's end of this pipe, so this read ends either way.
    let failed = kernel::read(failure, &mut error) == Ok(error.len());
    let mut chunk = [0; 1024];
    while let Ok(count @ 1..) = kernel::read(output, &mut chunk) {
        call.data.push(&chunk[..count]);
    }
    let waited = kernel::wait(child, 0);
    match call.step(b"wait", waited)? {
        _ if failed => call.step(b"exec", Err(Errno(u16::from_ne_bytes(error)))),
        Status::Exited(code) => Ok(i64::from(code)),
        Status::Signaled(signal) | Status::Stopped(signal) => {
            child::share_fate(signal);
            Ok(128 + i64::from(signal))
        }
    }
}
