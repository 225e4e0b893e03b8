//! The handle, and the thread that it stands for.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::SigSet;
use palisade_policy::Publish;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, LocalSet};

use crate::config::{Config, Sockets, Usage};
use crate::event::Event;
use crate::publish::{self, Publication};
use crate::raw::Raw;
use crate::shared::Shared;
use crate::tell::Counters;
use crate::{tcp, udp};

/// A running gateway. To drop it stops its thread and closes all its sockets.
#[derive(Debug)]
pub struct Gateway {
    counters: Arc<Counters>,
    /// Dropped to stop the thread.
    orders: Option<UnboundedSender<Publication>>,
    thread: Option<JoinHandle<()>>,
}

/// A means to connect into the sandbox, for published ports.
pub trait Inside: Send {
    /// Connects to `port` on the sandbox's loopback.
    ///
    /// Called on a thread of its own, one call at a time. The socket may be non-blocking and its connection still
    /// under way.
    ///
    /// # Errors
    ///
    /// `ECONNREFUSED` where nobody listens there.
    fn connect(&self, port: u16) -> io::Result<TcpStream>;
}

impl Gateway {
    /// Serves `sockets` by `config` from a new thread, in the network namespace of the calling thread.
    ///
    /// `events` is called on that thread; it must not block, nor wait for whoever drops the gateway.
    ///
    /// # Errors
    ///
    /// Those of making a thread or an epoll instance, and sockets that are not what they should be.
    pub fn start(
        mut config: Config,
        mut sockets: Sockets,
        events: impl Fn(Event) + Send + 'static,
    ) -> io::Result<Self> {
        let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX) / 4 * 3;
        config.limits = config.limits.fitting(descriptors);
        let counters = Arc::new(Counters::default());
        let (orders, receiver) = unbounded_channel();
        let (ready, started) = mpsc::sync_channel(1);
        let shared_counters = Arc::clone(&counters);
        let run = move || {
            // Signals are the business of the process.
            let _ = SigSet::all().thread_block();
            let events = Rc::new(events);
            let listener = Rc::clone(&events);
            let work = || {
                let told = Box::new(move |event| listener(event));
                let raw = Raw::new(std::mem::take(&mut sockets.raw))?;
                serve(Shared::new(config, raw, shared_counters, told), sockets, receiver, &ready)
            };
            // A gateway that ends by mistake ends the network: all sockets are closed by now.
            match catch_unwind(AssertUnwindSafe(work)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    // Nobody waits once the gateway was ready.
                    let _ = ready.try_send(Err(error));
                }
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                    events(Event::Died { message: text.unwrap_or("panic").to_owned() });
                }
            }
        };
        let thread = std::thread::Builder::new().name("palisade-gateway".to_owned()).spawn(run)?;
        let gateway = Self { counters, orders: Some(orders), thread: Some(thread) };
        match started.recv() {
            Ok(Ok(())) => Ok(gateway),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the gateway died at its start")),
        }
    }

    /// Listens outside, in the network namespace of the calling thread, and relays to ports inside. Returns the
    /// addresses listened on, in the order of `ports`: those of `to`, with a port that the kernel chose where it is 0.
    ///
    /// # Errors
    ///
    /// Those of bind(2) and of making a thread; then nothing is published.
    pub fn publish(&self, ports: &[Publish], inside: impl Inside + 'static) -> io::Result<Vec<SocketAddr>> {
        let (publication, addresses) = publish::listen(ports, Box::new(inside))?;
        let orders = self.orders.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        orders.send(publication).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(addresses)
    }

    /// What the gateway holds and carried.
    pub fn usage(&self) -> Usage {
        self.counters.usage()
    }

    /// Stops the gateway and waits for its thread: every connection through it ends.
    pub fn stop(self) {}
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // What it died of was told.
            let _ = thread.join();
        }
    }
}

/// Serves until `orders` are no more.
fn serve(
    shared: Shared,
    sockets: Sockets,
    mut orders: UnboundedReceiver<Publication>,
    ready: &mpsc::SyncSender<io::Result<()>>,
) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let shared = Rc::new(shared);
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        let mut listeners = Vec::new();
        for socket in sockets.tcp {
            set_nonblocking(&socket)?;
            listeners.push(TcpListener::from_std(std::net::TcpListener::from(socket))?);
        }
        let mut datagrams = Vec::new();
        for socket in sockets.udp {
            set_nonblocking(&socket)?;
            datagrams.push(Rc::new(udp::Inside::new(socket)?));
        }
        let mut servers = JoinSet::new();
        for listener in listeners {
            servers.spawn_local(tcp::serve(Rc::clone(&shared), listener));
        }
        for inside in datagrams {
            servers.spawn_local(udp::serve(Rc::clone(&shared), inside));
        }
        let _ = ready.send(Ok(()));
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(publication) => publish::serve(&shared, publication),
                    None => break,
                },
                // They never end but by a mistake. Half a gateway is none.
                Some(Err(error)) = servers.join_next() => {
                    if error.is_panic() {
                        resume_unwind(error.into_panic());
                    }
                }
            }
        }
        shared.teller.flush();
        Ok(())
    })
}

fn set_nonblocking(socket: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(socket.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(socket.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
