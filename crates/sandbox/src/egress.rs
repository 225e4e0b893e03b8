//! What leads out of a sandbox: its sockets, which the gateway serves from this side, and what the gateway tells.
//!
//! The gateway has a thread of its own, which ends with the supervisor; without it the sockets are closed and nothing
//! connects.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use palisade_gateway::{Config, Event as Told, Gateway, Inside, Mutant, Reason, Sockets};
use palisade_plan::{Plan, Step};
use palisade_policy::{Clause, Network, Protocol};
use rustix::event::{EventfdFlags, eventfd};

use crate::channel::{Channel, Message, SocketKind};
use crate::prepare::PrepareError;

/// Different destinations and names that are told apart. A workload can make up any number of them.
const MOST: usize = 256;

/// What is carried out of a sandbox, and by whom.
#[derive(Debug)]
pub(crate) struct Egress {
    /// The step's number, from 1.
    pub(crate) step: usize,
    network: Network,
    resolvers: Vec<SocketAddr>,
    mutant: Option<Mutant>,
    sockets: Sockets,
    serving: Option<Serving>,
    denied: BTreeMap<Destination, Refused>,
    others: u64,
}

/// A gateway that runs.
#[derive(Debug)]
struct Serving {
    gateway: Gateway,
    told: Arc<Mutex<Vec<Told>>>,
    /// Readable when there is something to hear.
    wake: OwnedFd,
}

/// Connects into the sandbox, by its first process: nobody else may make sockets in its network namespace.
#[derive(Debug)]
struct Door(Channel);

impl Inside for Door {
    fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let (answer, theirs) = Channel::pair()?;
        self.0.send(Message::Connect { port }, &[theirs.as_fd()])?;
        drop(theirs);
        // The end of the first process closes the other end.
        let received = answer.receive().ok_or(io::ErrorKind::BrokenPipe)?;
        match (received.message, received.descriptors.into_iter().flatten().next()) {
            (Message::Connected { .. }, Some(socket)) => Ok(TcpStream::from(socket)),
            (Message::Connected { errno }, None) => Err(io::Error::from_raw_os_error(errno)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// What a workload wanted to reach.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    /// Over which transport; none for a name that was only asked for.
    pub protocol: Option<Protocol>,
    /// By which name, if it was by name.
    pub name: Option<String>,
    /// At which address, if it was by address.
    pub address: Option<IpAddr>,
    /// On which port.
    pub port: Option<u16>,
}

/// A destination that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedDestination {
    /// Which.
    pub destination: Destination,
    /// Why.
    pub reason: String,
    /// The clause of the policy that says so.
    pub clause: Clause,
    /// How often.
    pub times: u64,
}

/// What a gateway has carried and refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections and flows that were allowed.
    pub allowed: u64,
    /// Connections, flows and names that were refused, as far as the gateway saw them.
    pub denied: u64,
    /// Bytes from inside to outside.
    pub sent: u64,
    /// Bytes from outside to inside.
    pub received: u64,
    /// What was refused.
    pub refused: Vec<DeniedDestination>,
    /// Refusals of destinations beyond those that are told apart.
    pub others: u64,
}

#[derive(Debug)]
struct Refused {
    reason: String,
    clause: Clause,
    times: u64,
}

/// What the supervisor hears of a gateway.
pub(crate) enum Heard {
    /// A destination was refused, for the first time.
    Denied(DeniedDestination),
    /// The gateway's own limit was reached.
    Limit(String),
    /// The network has ended.
    Died(String),
}

impl Egress {
    /// What `plan` lets out, if it lets something out.
    pub(crate) fn of(plan: &Plan) -> Result<Option<Self>, PrepareError> {
        let served = plan.steps.iter().enumerate().find_map(|(index, planned)| match &planned.step {
            Step::ServeEgress { network, resolvers, mutant } => Some((index + 1, network, resolvers, mutant)),
            _ => None,
        });
        let Some((step, network, resolvers, mutant)) = served else { return Ok(None) };
        let known = |name: &String| Mutant::from_name(name).ok_or_else(|| PrepareError::Mutant(name.clone()));
        Ok(Some(Self {
            step,
            network: network.clone(),
            resolvers: resolvers.clone(),
            mutant: mutant.as_ref().map(known).transpose()?,
            sockets: Sockets::default(),
            serving: None,
            denied: BTreeMap::new(),
            others: 0,
        }))
    }

    /// Takes a socket that was made inside.
    pub(crate) fn take(&mut self, socket: OwnedFd, kind: SocketKind) {
        let sockets = match kind {
            SocketKind::Streams => &mut self.sockets.tcp,
            SocketKind::Datagrams => &mut self.sockets.udp,
            SocketKind::Raw => &mut self.sockets.raw,
        };
        sockets.push(socket);
    }

    /// Begins to serve the sockets, and ports that are published, from this thread's network namespace. `channel` leads to the
    /// first process.
    pub(crate) fn serve(&mut self, channel: &Channel) -> io::Result<()> {
        let mut config = Config::new(self.network.clone(), self.resolvers.clone());
        config.own = own_addresses();
        config.mutant = self.mutant;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let ring = wake.try_clone()?;
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let gateway = Gateway::start(config, std::mem::take(&mut self.sockets), move |event| {
            // What nobody wants to hear of wakes nobody: this thread would be in the way of the very connection.
            if matches!(event, Told::Connected { .. } | Told::Failed { .. } | Told::Published { .. }) {
                return;
            }
            tell.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            // A counter that is full rings already.
            let _ = rustix::io::write(&ring, &1u64.to_ne_bytes());
        })?;
        if !self.network.publish.is_empty() {
            let inside = Door(Channel::of(channel.as_fd().try_clone_to_owned()?));
            gateway.publish(&self.network.publish, inside)?;
        }
        self.serving = Some(Serving { gateway, told, wake });
        Ok(())
    }

    /// What is readable when there is something to hear.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.serving.as_ref().map(|serving| serving.wake.as_fd())
    }

    /// What the gateway has told since the last time, as far as it is new.
    pub(crate) fn hear(&mut self) -> Vec<Heard> {
        let Some(serving) = &self.serving else { return Vec::new() };
        let _ = rustix::io::read(&serving.wake, &mut [0; 8]);
        let told = std::mem::take(&mut *serving.told.lock().unwrap_or_else(PoisonError::into_inner));
        told.into_iter().filter_map(|event| self.heard(event)).collect()
    }

    fn heard(&mut self, event: Told) -> Option<Heard> {
        match event {
            Told::Denied { protocol, address, name, port, reason, clause } => {
                let by_address = name.is_none().then_some(address.ip());
                let destination =
                    Destination { protocol: Some(protocol), name, address: by_address, port: Some(port) };
                self.refused(destination, reason, clause, 1)
            }
            Told::NameDenied { name, reason, clause } => {
                let destination = Destination { protocol: None, name: Some(name), address: None, port: None };
                self.refused(destination, reason, clause, 1)
            }
            Told::LimitHit { which } => Some(Heard::Limit(format!("{which:?}").to_lowercase())),
            Told::Died { message } => Some(Heard::Died(message)),
            Told::Suppressed { count } => {
                self.others = self.others.saturating_add(count);
                None
            }
            Told::Connected { .. } | Told::Failed { .. } | Told::Published { .. } => None,
        }
    }

    fn refused(
        &mut self,
        destination: Destination,
        reason: Reason,
        clause: Clause,
        times: u64,
    ) -> Option<Heard> {
        if let Some(known) = self.denied.get_mut(&destination) {
            known.times += times;
            return None;
        }
        if self.denied.len() >= MOST {
            self.others += times;
            return None;
        }
        let refused = Refused { reason: words(reason), clause, times };
        let denied = told(&destination, &refused);
        self.denied.insert(destination, refused);
        Some(Heard::Denied(denied))
    }

    /// Ends the gateway, and says what it carried and refused.
    pub(crate) fn end(mut self) -> Traffic {
        self.hear();
        let usage = self.serving.take().map(|serving| {
            let usage = serving.gateway.usage();
            serving.gateway.stop();
            usage
        });
        let usage = usage.unwrap_or_default();
        Traffic {
            allowed: usage.allowed,
            denied: usage.denied,
            sent: usage.sent,
            received: usage.received,
            refused: self.denied.iter().map(|(destination, refused)| told(destination, refused)).collect(),
            others: self.others,
        }
    }
}

fn told(destination: &Destination, refused: &Refused) -> DeniedDestination {
    DeniedDestination {
        destination: destination.clone(),
        reason: refused.reason.clone(),
        clause: refused.clause.clone(),
        times: refused.times,
    }
}

fn words(reason: Reason) -> String {
    match reason {
        Reason::Metadata(what) => format!("metadata: {what}"),
        Reason::SpecialUse(what) => format!("special use: {what}"),
        Reason::Own => "an address of this host".into(),
        Reason::NoRule => "no rule allows it".into(),
        Reason::UnknownName => "the address stands for no name".into(),
        Reason::NotAName => "not a host name".into(),
        Reason::NoNetwork => "no network".into(),
    }
}

/// The addresses of this host's own interfaces: allowed ranges do not mean them.
fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let addresses = interfaces.filter_map(|interface| {
        let storage = interface.address?;
        let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    addresses.collect()
}
