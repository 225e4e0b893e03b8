//! Operations by io_uring: the same kernel functions, reached past a filter that only sees system calls.
//!
//! One ring per statement, one submission, one completion.

use crate::call::Call;
use crate::guard;
use crate::kernel::{self, AT_FDCWD, Answer, EPROTO, Fd, O_CLOEXEC, POLLIN};
use crate::raw;

const SETUP: usize = 425;
const ENTER: usize = 426;
/// Rings of one entry are smaller than this.
const PAGE: usize = 4096;
/// How long a completion may take, in milliseconds.
const WAIT: u64 = 3000;

/// struct io_uring_params: 30 words of 32 bits.
type Parameters = [u32; 30];

/// struct io_uring_sqe, as far as it is used here.
#[derive(Default)]
struct Submission {
    opcode: u8,
    fd: u32,
    offset: u64,
    address: u64,
    length: u32,
    flags: u32,
}

impl Submission {
    fn encode(&self, into: &mut [u8]) {
        into[0] = self.opcode;
        into[4..8].copy_from_slice(&self.fd.to_ne_bytes());
        into[8..16].copy_from_slice(&self.offset.to_ne_bytes());
        into[16..24].copy_from_slice(&self.address.to_ne_bytes());
        into[24..28].copy_from_slice(&self.length.to_ne_bytes());
        into[28..32].copy_from_slice(&self.flags.to_ne_bytes());
    }
}

pub(super) fn io_uring_setup(call: &mut Call<'_>) -> Answer {
    let (entries, flags) =
        (call.number_or(0, 1)?.cast_unsigned() as usize, call.number_or(1, 0)?.cast_unsigned() as u32);
    let mut parameters: Parameters = [0; 30];
    parameters[2] = flags;
    kernel::answer(SETUP, [entries, parameters.as_mut_ptr() as usize])
}

pub(super) fn uring_openat(call: &mut Call<'_>) -> Answer {
    const OPENAT: u8 = 18;
    let (path, flags) = (call.text(0)?, call.number_or(1, 0)?.cast_unsigned() as u32);
    let submission = Submission {
        opcode: OPENAT,
        fd: AT_FDCWD as u32,
        address: path.address() as u64,
        length: 0o644,
        flags: flags | O_CLOEXEC,
        ..Submission::default()
    };
    submit(call, &submission)
}

pub(super) fn uring_socket(call: &mut Call<'_>) -> Answer {
    const SOCKET: u8 = 45;
    let (family, kind, protocol) = (call.number(0)?, call.number(1)?, call.number_or(2, 0)?);
    let submission = Submission {
        opcode: SOCKET,
        fd: family.cast_unsigned() as u32,
        offset: kind.cast_unsigned(),
        length: protocol.cast_unsigned() as u32,
        ..Submission::default()
    };
    submit(call, &submission)
}

/// The socket itself is made by socket(2): only the connection goes through the ring.
pub(super) fn uring_connect(call: &mut Call<'_>) -> Answer {
    const CONNECT: u8 = 16;
    const SOCK_STREAM: usize = 1;
    let text = call.text(0)?;
    let ip = crate::address::Ip::parse(text.bytes()).ok_or_else(|| call.malformed(0))?;
    let port = u16::try_from(call.number(1)?).map_err(|_| call.malformed(1))?;
    if !ip.is_loopback() {
        guard::check(call.data)?;
    }
    let (address, length) = ip.socket_address(port);
    let made = kernel::call(41, [usize::from(ip.family()), SOCK_STREAM | O_CLOEXEC as usize, 0]);
    let socket = call.step(b"socket", made)?;
    let submission = Submission {
        opcode: CONNECT,
        fd: socket as u32,
        offset: length as u64,
        address: address.as_ptr() as u64,
        ..Submission::default()
    };
    let connected = submit(call, &submission);
    if connected.is_ok() {
        let _ =
            crate::socket::send(socket, call.nonce.bytes()).and_then(|_| crate::socket::send(socket, b"\n"));
    }
    kernel::close(socket);
    connected
}

/// The result of the operation, or its error; data names the step where it did not get that far.
fn submit(call: &mut Call<'_>, submission: &Submission) -> Answer {
    let mut parameters: Parameters = [0; 30];
    let made = kernel::call(SETUP, [1, parameters.as_mut_ptr() as usize]);
    let fd = call.step(b"io_uring_setup", made)?;
    let completed = drive(call, fd, &parameters, submission);
    kernel::close(fd);
    completed
}

fn drive(call: &mut Call<'_>, fd: Fd, parameters: &Parameters, submission: &Submission) -> Answer {
    const RINGS: usize = 0;
    const ENTRIES: usize = 0x1000_0000;
    const SINGLE_MMAP: u32 = 1;
    if parameters[5] & SINGLE_MMAP == 0 {
        return call.step(b"one mapping for both rings", Err(EPROTO));
    }
    let mapped = raw::map_shared(fd, PAGE, RINGS).map_err(kernel::errno);
    let rings = call.step(b"mmap rings", mapped)?;
    let mapped = raw::map_shared(fd, PAGE, ENTRIES).map_err(kernel::errno);
    let entries = call.step(b"mmap entries", mapped)?;
    // sq_off begins at word 10 (head, tail, mask, entries, flags, dropped, array), cq_off at word 20 (head, tail,
    // mask, entries, overflow, cqes). One entry in a fresh ring: index 0, which the array holds already.
    let (tail, completions) = (parameters[11] as usize, parameters[25] as usize);
    submission.encode(entries);
    rings.get_mut(tail..tail + 4).ok_or(EPROTO)?.copy_from_slice(&1_u32.to_ne_bytes());
    let entered = kernel::call(ENTER, [fd, 1, 0, 0, 0, 0]);
    call.step(b"io_uring_enter", entered)?;
    let ready = kernel::await_ready(fd, POLLIN, WAIT);
    call.step(b"completion", ready)?;
    // struct io_uring_cqe: user data u64, result s32.
    let result = crate::netlink::word(rings, completions + 8).ok_or(EPROTO)?.cast_signed();
    kernel::decode(result as isize).map(|value| value as i64)
}
