//! Requests for what a network namespace may have: a table of nftables, a veth pair, a macvlan interface beside it.
//!
//! Written before the fork; sending one and reading the answer allocates nothing.

use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// netlink(7).
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const EXCL: u16 = 0x200;
const CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const HEAD: usize = 16;

/// linux/netfilter/nfnetlink.h, nf_tables.h.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NFTABLES: u8 = 10;
const NFT_MSG_NEWTABLE: u16 = 0;
const NFPROTO_INET: u8 = 1;
const NFTA_TABLE_NAME: u16 = 1;

/// linux/rtnetlink.h, linux/if_link.h.
const RTM_NEWLINK: u16 = 16;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;

/// The number that the end of the pair gets: no other has it in a new namespace.
const VETH: u32 = 77;

pub(super) struct Requests {
    table: Vec<u8>,
    veth: Vec<u8>,
    macvlan: Vec<u8>,
}

impl Requests {
    pub(super) fn new() -> Self {
        // struct nfgenmsg: family, version, and (big-endian) which subsystem a batch is of.
        let mut table = message(BATCH_BEGIN, REQUEST, &[0, 0, 0, NFTABLES]);
        let mut named = vec![NFPROTO_INET, 0, 0, 0];
        attribute(&mut named, NFTA_TABLE_NAME, b"palisade\0");
        table.extend(message(u16::from(NFTABLES) << 8 | NFT_MSG_NEWTABLE, REQUEST | ACK | CREATE, &named));
        table.extend(message(BATCH_END, REQUEST, &[0, 0, 0, NFTABLES]));
        Self { table, veth: link(VETH, None, b"veth"), macvlan: link(0, Some(VETH), b"macvlan") }
    }

    pub(super) fn nftables(&self) -> Result<(), Errno> {
        ask(Some(NETFILTER), &self.table)
    }

    pub(super) fn veth(&self) -> Result<(), Errno> {
        // The first of the netlink protocols, that of routing, is the default.
        ask(None, &self.veth)
    }

    pub(super) fn macvlan(&self) -> Result<(), Errno> {
        ask(None, &self.macvlan)
    }
}

/// A new interface of this number (0: any) and kind, on top of another.
fn link(number: u32, on: Option<u32>, kind: &[u8]) -> Vec<u8> {
    // struct ifinfomsg: family and type, number, flags, which of them count.
    let mut body: Vec<u8> = [0, number, 0, 0].iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
    if let Some(on) = on {
        attribute(&mut body, IFLA_LINK, &on.to_ne_bytes());
    }
    let mut info = Vec::new();
    attribute(&mut info, IFLA_INFO_KIND, kind);
    attribute(&mut body, IFLA_LINKINFO, &info);
    message(RTM_NEWLINK, REQUEST | ACK | EXCL | CREATE, &body)
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEAD + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Appends an attribute, padded to four bytes.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Sends a request about the calling process's network namespace. The kernel has answered when it has been sent.
fn ask(protocol: Option<Protocol>, request: &[u8]) -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    send(&socket, request, SendFlags::empty())?;
    let mut answer = [0; 512];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::DONTWAIT)?;
    let answer = answer.get(..length).ok_or(Errno::BADMSG)?;
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(HEAD..HEAD + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, code) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(Errno::from_raw_os_error(code.saturating_neg())),
        _ => Err(Errno::BADMSG),
    }
}
