//! What all tasks of a gateway share, and the way of a destination from what was dialled to what is connected to.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use nix::errno::Errno;
use palisade_policy::address::synthetic;
use palisade_policy::{Clause, Protocol};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::config::{Config, Limits, Mutant};
use crate::crew::Crew;
use crate::decide::{Denial, Judge};
use crate::dial::dial;
use crate::dns::client::{Client, Unresolved};
use crate::event::{Event, Limit, Reason};
use crate::names::Names;
use crate::raw::Raw;
use crate::tell::{Counted, Counters, Teller};

/// Everything but the sockets.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) judge: Judge,
    pub(crate) names: RefCell<Names>,
    pub(crate) client: Client,
    pub(crate) limits: Limits,
    pub(crate) counters: Arc<Counters>,
    pub(crate) teller: Teller,
    pub(crate) crew: Rc<Crew>,
    pending: Semaphore,
    pub(crate) raw: Raw,
    /// How many bytes of datagrams wait for their upstream.
    pub(crate) early: Cell<usize>,
}

/// Whom a client wants to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// An address.
    Address(IpAddr),
    /// A host, in normal form.
    Name(Rc<str>),
}

/// A wish, and where it was said.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) protocol: Protocol,
    /// The address that the client dialled.
    pub(crate) dialled: SocketAddr,
    pub(crate) target: Target,
    pub(crate) port: u16,
}

/// Why there is no connection. What there is to tell was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unopened {
    /// The policy forbids it.
    Denied,
    /// It could not be made.
    Failed(Errno),
    /// There are too many.
    Limited,
}

/// An upstream that is being made.
#[derive(Debug)]
pub(crate) struct Pending<'s> {
    _permit: SemaphorePermit<'s>,
    _counted: Option<Counted<'s>>,
}

/// The use of a name's address, until it is dropped.
#[derive(Debug)]
pub(crate) struct NameUse {
    shared: Rc<Shared>,
    number: u32,
}

impl Drop for NameUse {
    fn drop(&mut self) {
        self.shared.names.borrow_mut().release(self.number, Instant::now());
    }
}

impl Wish {
    fn name(&self) -> Option<&str> {
        match &self.target {
            Target::Name(name) => Some(name),
            Target::Address(_) => None,
        }
    }
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        raw: Raw,
        counters: Arc<Counters>,
        listener: Box<dyn Fn(Event)>,
    ) -> Self {
        let Config { network, resolvers, hosts, own, limits, mutant } = config;
        let servers = if network.dns.servers.is_empty() { resolvers } else { network.dns.servers.clone() };
        let own = own.into_iter().map(|address| address.to_canonical()).collect();
        Self {
            client: Client::new(servers, hosts, limits.resolve_timeout),
            names: RefCell::new(Names::new(limits.names, limits.name_hold)),
            teller: Teller::new(limits.events, listener),
            crew: Rc::new(Crew::new(Arc::clone(&counters))),
            raw,
            judge: Judge::new(network, own, mutant),
            pending: Semaphore::new(limits.pending),
            limits,
            counters,
            early: Cell::new(0),
        }
    }

    /// What an address that was dialled stands for.
    ///
    /// # Errors
    ///
    /// The sandbox's own addresses: whoever dials them means the sandbox, where nobody listened.
    pub(crate) fn target(self: &Rc<Self>, dialled: IpAddr) -> Result<(Target, Option<NameUse>), Denial> {
        let dialled = dialled.to_canonical();
        let deny = |reason| Err(Denial { reason, clause: Clause::new("network.allow") });
        if dialled.is_loopback() || dialled.is_unspecified() {
            return deny(Reason::Own);
        }
        if !synthetic::contains(dialled) {
            return Ok((Target::Address(dialled), None));
        }
        let number = synthetic::index(dialled);
        let name = number.and_then(|number| self.names.borrow_mut().acquire(number));
        match (number, name) {
            (Some(number), Some(name)) => {
                Ok((Target::Name(name), Some(NameUse { shared: Rc::clone(self), number })))
            }
            _ => deny(Reason::UnknownName),
        }
    }

    pub(crate) fn deny(&self, wish: &Wish, denial: Denial) {
        self.counters.denied.fetch_add(1, Ordering::Relaxed);
        self.teller.tell(Event::Denied {
            protocol: wish.protocol,
            address: canonical(wish.dialled),
            name: wish.name().map(str::to_owned),
            port: wish.port,
            reason: denial.reason,
            clause: denial.clause,
        });
    }

    pub(crate) fn fail(&self, wish: &Wish, errno: Errno) {
        self.teller.tell(Event::Failed {
            protocol: wish.protocol,
            address: canonical(wish.dialled),
            name: wish.name().map(str::to_owned),
            errno: errno as i32,
        });
    }

    pub(crate) fn connected(&self, wish: &Wish, upstream: SocketAddr, rule: Clause) {
        self.counters.allowed.fetch_add(1, Ordering::Relaxed);
        self.teller.tell(Event::Connected {
            protocol: wish.protocol,
            address: canonical(wish.dialled),
            name: wish.name().map(str::to_owned),
            upstream,
            rule,
        });
    }

    /// Waits until one more upstream may be made. `None`, once told: there were too many for too long.
    pub(crate) async fn pending(&self) -> Option<Pending<'_>> {
        match timeout(self.limits.connect_timeout, self.pending.acquire()).await {
            Ok(Ok(permit)) => {
                Some(Pending { _permit: permit, _counted: Counted::new(&self.counters.pending, usize::MAX) })
            }
            Ok(Err(_)) | Err(_) => {
                self.teller.limit(Limit::Pending);
                None
            }
        }
    }

    /// The addresses that `wish` may be connected to, each with the clause that allows it: at least one.
    pub(crate) async fn upstreams(&self, wish: &Wish) -> Result<Vec<(SocketAddr, Clause)>, Unopened> {
        let denied = |denial| {
            self.deny(wish, denial);
            Unopened::Denied
        };
        let name = match &wish.target {
            Target::Address(address) => {
                let address = SocketAddr::new(*address, wish.port);
                let rule = self.judge.address(wish.protocol, address, None).map_err(denied)?;
                return Ok(vec![(address, rule)]);
            }
            Target::Name(name) => name,
        };
        self.judge.named(name, wish.protocol, wish.port).map_err(denied)?;
        let addresses = self.client.resolve(name).await.map_err(|error| {
            let errno = match error {
                Unresolved::NoSuchName => Errno::ENOENT,
                Unresolved::NoAnswer => Errno::ETIMEDOUT,
            };
            self.fail(wish, errno);
            Unopened::Failed(errno)
        })?;
        let mut allowed = Vec::new();
        let mut denial = None;
        for address in addresses {
            let address = SocketAddr::new(address.to_canonical(), wish.port);
            match self.judge.address(wish.protocol, address, Some(name)) {
                Ok(rule) => allowed.push((address, rule)),
                Err(why) => denial = denial.or(Some(why)),
            }
        }
        if self.judge.has(Mutant::ResolvesTwice)
            && let Some((_, rule)) = allowed.first()
            && let Ok(addresses) = self.client.resolve_anew(name).await
        {
            let again = |address| (SocketAddr::new(address, wish.port), rule.clone());
            return Ok(addresses.into_iter().map(again).collect());
        }
        match denial {
            Some(denial) if allowed.is_empty() => Err(denied(denial)),
            _ => Ok(allowed),
        }
    }

    /// Makes the connection that `wish` is about.
    pub(crate) async fn open(&self, wish: &Wish) -> Result<TcpStream, Unopened> {
        let Some(_pending) = self.pending().await else { return Err(Unopened::Limited) };
        let upstreams = self.upstreams(wish).await?;
        let addresses: Vec<SocketAddr> = upstreams.iter().map(|&(address, _)| address).collect();
        match dial(&addresses, self.limits.connect_timeout).await {
            Ok((stream, upstream)) => {
                let rule = upstreams.into_iter().find(|&(address, _)| address == upstream);
                self.connected(wish, upstream, rule.map_or(Clause::new("network.allow"), |(_, rule)| rule));
                Ok(stream)
            }
            Err(error) => {
                let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
                if matches!(errno, Errno::EMFILE | Errno::ENFILE) {
                    self.teller.limit(Limit::Descriptors);
                }
                self.fail(wish, errno);
                Err(Unopened::Failed(errno))
            }
        }
    }
}

/// `address` as a person writes it: IPv4 as IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
