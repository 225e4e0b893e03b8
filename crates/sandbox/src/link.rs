//! The interface that leads out of a sandbox: who makes it, from outside.
//!
//! A program that carries one runs as long as the sandbox, and has a [keeper](crate::keeper): it would keep the sandbox's network
//! namespace for ever. It gets nothing of the caller but two namespaces. When it ends, the interface goes with it, and
//! the routes with that.

use std::ffi::CString;
use std::fs::File;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use palisade_plan::step::Carrier;
use palisade_plan::{Plan, Step};
use palisade_sys::exec::StringArray;
use rustix::event::Timespec;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::sockopt::set_ipv6_add_membership;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::keeper::{Keeper, Program};
use crate::netlink::{self, Request};

/// How many of its last lines are told.
const LINES: usize = 4;

/// How long a program may take to end after its interface is gone.
const LAST_BREATH: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// The link of a plan.
#[derive(Debug)]
pub(crate) struct Link {
    /// The step's number, from 1.
    pub(crate) step: usize,
    name: String,
    carrier: Carrier,
    /// The number of its other end, where that is an interface of this side.
    own: Option<u32>,
    /// Hears who asks for the addresses of that end.
    asked: Option<OwnedFd>,
    running: Option<Running>,
    ended: Option<String>,
}

/// A program at work.
#[derive(Debug)]
struct Running {
    keeper: Keeper,
    /// Open as long as the first process may expect the link.
    _held: OwnedFd,
    /// What it says to its standard error, as much as a pipe holds.
    said: OwnedFd,
}

impl Link {
    /// The link of `plan`, if it has one.
    pub(crate) fn of(plan: &Plan) -> Option<Self> {
        plan.steps.iter().enumerate().find_map(|(index, planned)| match &planned.step {
            Step::AttachLink { name, carrier } => Some(Self {
                step: index + 1,
                name: name.clone(),
                carrier: carrier.clone(),
                own: None,
                asked: None,
                running: None,
                ended: None,
            }),
            _ => None,
        })
    }

    /// Makes the interface in the network namespace of the process `pid`, or starts who does. `held` is closed when there will
    /// be none.
    ///
    /// # Errors
    /// What the kernel says: EPERM without CAP_NET_ADMIN on this host, ENODEV for a parent that does not exist, EEXIST where an
    /// interface has the name; ENOENT or EACCES for a program.
    pub(crate) fn attach(&mut self, pid: i32, held: OwnedFd) -> Result<(), Errno> {
        let open = |kind: &str| File::open(format!("/proc/{pid}/ns/{kind}")).map_err(errno);
        let network = || open("net");
        match &self.carrier {
            Carrier::Program { path, arguments } => {
                let namespaces = [network()?, open("user")?];
                self.running = Some(Running::start(path, arguments, namespaces, held)?);
                Ok(())
            }
            Carrier::Veth { name, routers, .. } => {
                let routing = netlink::open()?;
                let ask = |request: Request| netlink::exchange(&routing, &request, None);
                ask(Request::new_veth(name, &self.name, network()?.as_fd()))?;
                // It goes with the sandbox's network namespace, whatever fails from here on.
                let own = netlink::index(&routing, name)?;
                for router in routers {
                    ask(Request::add_address_of(own, *router))?;
                }
                self.own = Some(own);
                Ok(())
            }
            Carrier::Macvlan { parent } => {
                let routing = netlink::open()?;
                let parent = netlink::index(&routing, parent)?;
                netlink::exchange(
                    &routing,
                    &Request::new_macvlan(&self.name, parent, network()?.as_fd()),
                    None,
                )
            }
        }
    }

    /// Raises the end that is on this side, once the sandbox's is up: the one that comes second carries packets at once, and
    /// that of the first can be heard of (net/core/link_watch.c).
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn raise(&mut self) -> Result<(), Errno> {
        let (Carrier::Veth { addresses, routers, .. }, Some(own)) = (&self.carrier, self.own) else {
            return Ok(());
        };
        let routing = netlink::open()?;
        let ask = |request: Request| netlink::exchange(&routing, &request, None);
        ask(Request::up(own))?;
        routers.iter().filter_map(|router| Request::own_address(*router, own)).try_for_each(ask)?;
        self.asked = hear_who_asks(routers, own)?;
        addresses.iter().try_for_each(|address| ask(Request::add_neighbour(*address, own)))
    }

    /// What is readable when the program has ended.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.keeper.descriptor())
    }

    /// Takes note that the program has ended; how, in words.
    pub(crate) fn end(&mut self) -> Option<String> {
        let Running { keeper, said, .. } = self.running.take()?;
        let code = keeper.wait();
        let said = last_words(&said).map(|words| format!(": {words}")).unwrap_or_default();
        let how = format!("exit status {code}{said}");
        self.ended = Some(how.clone());
        Some(format!("{} has ended: {how}", self.carrier))
    }

    /// How the program has ended, if it has, or is about to: its interface goes before it does.
    pub(crate) fn ended(&mut self) -> Option<&str> {
        if self.running.as_ref().is_some_and(|running| running.keeper.ends_within(&LAST_BREATH)) {
            self.end();
        }
        self.ended.as_deref()
    }
}

impl Running {
    fn start(
        path: &Path,
        arguments: &[String],
        [network, user]: [File; 2],
        held: OwnedFd,
    ) -> Result<Self, Errno> {
        // The namespaces are its standard descriptors: it may not be allowed to open them itself.
        let fill = |word: &String| {
            word.replace("{network}", "/proc/self/fd/0").replace("{user}", "/proc/self/fd/1").into_bytes()
        };
        // By its own name: what it is called may be what it does.
        let words = std::iter::once(path.as_os_str().as_bytes().to_vec()).chain(arguments.iter().map(fill));
        let words = words.map(CString::new).collect::<Result<_, _>>().map_err(|_| Errno::INVAL)?;
        // A program that is not read does not wait: what is too much is lost.
        let (said, says) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let program = Program {
            file: openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?,
            arguments: StringArray::new(words),
            environment: StringArray::new(Vec::new()),
            standard: [network.into(), user.into(), says],
        };
        Ok(Self { keeper: Keeper::start(&program)?, _held: held, said })
    }
}

/// Joins the groups to which it is asked who has these addresses (RFC 4291, 2.7.1). The kernel does it too, but by the worker of
/// [`Request::own_address`]; what is asked before that is asked again after a second (RFC 4861, 10).
fn hear_who_asks(addresses: &[IpAddr], interface: u32) -> Result<Option<OwnedFd>, Errno> {
    let groups = addresses.iter().filter_map(|address| match address {
        IpAddr::V6(address) => {
            let [.., high, low] = address.segments();
            Some(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high & 0xff, low))
        }
        IpAddr::V4(_) => None,
    });
    let mut groups = groups.peekable();
    if groups.peek().is_none() {
        return Ok(None);
    }
    let socket = socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    groups.try_for_each(|group| set_ipv6_add_membership(&socket, &group, interface))?;
    Ok(Some(socket))
}

/// The last lines of what was said: one that tells what failed, and those that tell who gave up for that.
fn last_words(said: &OwnedFd) -> Option<String> {
    let mut bytes = vec![0; 1 << 16];
    let read = rustix::io::read(said, &mut bytes).ok()?;
    let text = String::from_utf8_lossy(bytes.get(..read)?).into_owned();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..)?;
    (!last.is_empty()).then(|| last.join("; "))
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
