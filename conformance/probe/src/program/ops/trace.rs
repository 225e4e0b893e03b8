//! Reaching into another process: a child of this one, with the same user and no protection of its own.

use crate::buffer::Path;
use crate::call::Call;
use crate::child;
use crate::kernel::{self, Answer, EPROTO, O_CLOEXEC, O_RDONLY};

const PTRACE: usize = 101;

pub(super) fn ptrace_sibling(call: &mut Call<'_>) -> Answer {
    const ATTACH: usize = 16;
    const DETACH: usize = 17;
    const WALL: usize = 0x4000_0000;
    with_sibling(call, |call, sibling| {
        let attached = kernel::call(PTRACE, [ATTACH, sibling, 0, 0]);
        call.step(b"attach", attached)?;
        // The sibling is stopped by SIGSTOP, which only its tracer can wait for.
        let stopped = kernel::wait(sibling, WALL);
        call.step(b"wait", stopped)?;
        let detached = kernel::call(PTRACE, [DETACH, sibling, 0, 0]);
        call.step(b"detach", detached)?;
        Ok(0)
    })
}

pub(super) fn ptrace_seize_sibling(call: &mut Call<'_>) -> Answer {
    const SEIZE: usize = 0x4206;
    with_sibling(call, |_, sibling| kernel::answer(PTRACE, [SEIZE, sibling, 0, 0]))
}

/// In a child of its own: a process that is traced by a parent that does not wait for stops would hang.
pub(super) fn ptrace_traceme(_call: &mut Call<'_>) -> Answer {
    const TRACEME: usize = 0;
    child::run(|| kernel::call(PTRACE, [TRACEME, 0, 0, 0]).map(drop))?;
    Ok(0)
}

/// The sibling is a fork: the nonce lies at the same address in both.
pub(super) fn vm_readv_sibling(call: &mut Call<'_>) -> Answer {
    const PROCESS_VM_READV: usize = 310;
    with_sibling(call, |call, sibling| {
        let nonce = call.nonce.bytes();
        let mut text = [0_u8; 64];
        let local = [text.as_mut_ptr() as usize, nonce.len()];
        let remote = [nonce.as_ptr() as usize, nonce.len()];
        let operands = [sibling, local.as_ptr() as usize, 1, remote.as_ptr() as usize, 1, 0];
        let count = kernel::call(PROCESS_VM_READV, operands)?;
        call.data.push(&text[..count]);
        Ok(count as i64)
    })
}

pub(super) fn vm_writev_sibling(call: &mut Call<'_>) -> Answer {
    const PROCESS_VM_WRITEV: usize = 311;
    // The same number of bytes as the nonce, over the sibling's copy of it: nobody reads that again.
    with_sibling(call, |call, sibling| {
        let nonce = call.nonce.bytes();
        let part = [nonce.as_ptr() as usize, nonce.len()];
        let operands = [sibling, part.as_ptr() as usize, 1, part.as_ptr() as usize, 1, 0];
        kernel::answer(PROCESS_VM_WRITEV, operands)
    })
}

pub(super) fn proc_mem_sibling(call: &mut Call<'_>) -> Answer {
    const PREAD64: usize = 17;
    with_sibling(call, |call, sibling| {
        let mut path = Path::of(&[b"/proc/"]);
        path.push_unsigned(sibling as u64);
        path.push(b"/mem");
        let opened = kernel::open(path.terminated(), O_RDONLY | O_CLOEXEC, 0);
        let fd = call.step(b"open", opened)?;
        let mut text = [0_u8; 64];
        let nonce = call.nonce;
        let operands = [fd, text.as_mut_ptr() as usize, nonce.bytes().len(), nonce.address()];
        let read = kernel::call(PREAD64, operands);
        kernel::close(fd);
        let count = call.step(b"read", read)?;
        call.data.push(&text[..count]);
        Ok(count as i64)
    })
}

pub(super) fn pidfd_getfd_sibling(call: &mut Call<'_>) -> Answer {
    const PIDFD_OPEN: usize = 434;
    const PIDFD_GETFD: usize = 438;
    with_sibling(call, |call, sibling| {
        let opened = kernel::call(PIDFD_OPEN, [sibling, 0]);
        let pidfd = call.step(b"pidfd_open", opened)?;
        let taken = kernel::call(PIDFD_GETFD, [pidfd, 1, 0]);
        kernel::close(pidfd);
        kernel::close(call.step(b"pidfd_getfd", taken)?);
        Ok(0)
    })
}

/// Runs `body` on a child that waits, and ends the child whatever comes out.
fn with_sibling(call: &mut Call<'_>, body: impl FnOnce(&mut Call<'_>, usize) -> Answer) -> Answer {
    let made = child::waiting();
    let sibling = call.step(b"fork", made)?;
    let answer = if sibling == 0 { Err(EPROTO) } else { body(call, sibling) };
    child::end(sibling);
    answer
}
