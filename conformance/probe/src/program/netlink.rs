//! Dumps of NETLINK_ROUTE: links, addresses, routes. Asks only; an operation that changes something is `sys`.

use crate::kernel::{self, EPROTO, Errno, O_CLOEXEC};

pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_GETLINK: u16 = 18;
pub(crate) const RTM_GETADDR: u16 = 22;
pub(crate) const RTM_GETROUTE: u16 = 26;
pub(crate) const RTM_NEWROUTE: u16 = 24;

const AF_NETLINK: usize = 16;
const SOCK_RAW: usize = 3;
const SOCKET: usize = 41;
const SENDTO: usize = 44;

/// A message of a dump: its type and what follows the header.
pub(crate) struct Message<'m> {
    pub(crate) kind: u16,
    pub(crate) body: &'m [u8],
}

impl<'m> Message<'m> {
    /// The attribute `kind`, which follow a fixed part of `fixed` bytes.
    pub(crate) fn attribute(&self, fixed: usize, kind: u16) -> Option<&'m [u8]> {
        let mut rest = self.body.get(fixed..)?;
        loop {
            // struct rtattr: length u16 (with this header), type u16.
            let length = usize::from(half(rest, 0)?);
            let value = rest.get(4..length)?;
            // The two high bits are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
            if half(rest, 2)? & 0x3fff == kind {
                return Some(value);
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
    }
}

/// The 16-bit number at `offset`.
fn half(bytes: &[u8], offset: usize) -> Option<u16> {
    let pair = bytes.get(offset..offset + 2)?;
    Some(u16::from_ne_bytes([pair[0], pair[1]]))
}

/// The 32-bit number at `offset`.
pub(crate) fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    let four = bytes.get(offset..offset + 4)?;
    Some(u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
}

/// Sends a dump request of the given type, for all families, and calls `visit` with every answer.
pub(crate) fn dump(kind: u16, visit: &mut dyn FnMut(&Message<'_>)) -> Result<(), Errno> {
    let fd = kernel::call(SOCKET, [AF_NETLINK, SOCK_RAW | O_CLOEXEC as usize, 0])?;
    let received = request(fd, kind).and_then(|()| receive(fd, visit));
    kernel::close(fd);
    received
}

fn request(fd: usize, kind: u16) -> Result<(), Errno> {
    const NLM_F_REQUEST_DUMP: u16 = 0x301;
    // struct nlmsghdr, then a struct ifinfomsg, ifaddrmsg or rtmsg of zeros: family AF_UNSPEC, no filter. The
    // longest of them fits all: the kernel takes a longer request than it needs.
    let mut message = [0_u8; 16 + 16];
    let length = (message.len() as u32).to_ne_bytes();
    message[..4].copy_from_slice(&length);
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    message[8] = 1;
    let mut kernel_address = [0_u8; 12];
    kernel_address[..2].copy_from_slice(&(AF_NETLINK as u16).to_ne_bytes());
    let operands = [
        fd,
        message.as_ptr() as usize,
        message.len(),
        0,
        kernel_address.as_ptr() as usize,
        kernel_address.len(),
    ];
    kernel::call(SENDTO, operands).map(drop)
}

fn receive(fd: usize, visit: &mut dyn FnMut(&Message<'_>)) -> Result<(), Errno> {
    const NLMSG_ERROR: u16 = 2;
    const NLMSG_DONE: u16 = 3;
    let mut datagram = [0_u8; 32 * 1024];
    loop {
        let filled = kernel::read(fd, &mut datagram)?;
        let mut rest = &datagram[..filled];
        if rest.is_empty() {
            return Err(EPROTO);
        }
        while !rest.is_empty() {
            let length = word(rest, 0).and_then(|length| usize::try_from(length).ok()).ok_or(EPROTO)?;
            let (kind, body) = (half(rest, 4).ok_or(EPROTO)?, rest.get(16..length).ok_or(EPROTO)?);
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = word(body, 0).ok_or(EPROTO)?.cast_signed();
                    kernel::decode(code as isize)?;
                }
                _ => visit(&Message { kind, body }),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        }
    }
}
