//! More threads, for connections that carry much at the same time.
//!
//! One thread judges, dials and carries, and where little goes through a gateway there is no other. One is started when a
//! connection has carried much and the gateway's own thread has another of that kind already.

use std::cell::{Cell, OnceCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{JoinHandle, available_parallelism};

use tokio::net::TcpStream;
use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};

use crate::relay::{Pair, carry_on};
use crate::tell::Counters;

/// Most threads that carry, the gateway's own included.
const MOST: usize = 4;

/// The threads of a gateway.
#[derive(Debug)]
pub(crate) struct Crew {
    counters: Arc<Counters>,
    /// What the gateway's own thread has.
    own: Rc<Cell<usize>>,
    /// Those that could be, once there was a reason for one.
    workers: OnceCell<Vec<Worker>>,
}

#[derive(Debug, Default)]
struct Worker {
    has: Rc<Cell<usize>>,
    /// Empty inside where it could not be started.
    thread: OnceCell<Option<Thread>>,
}

#[derive(Debug)]
struct Thread {
    /// Dropped to end it.
    orders: Option<UnboundedSender<Order>>,
    handle: Option<JoinHandle<()>>,
}

/// A connection to go on with. Who waits for its end hears that `done` is dropped.
#[derive(Debug)]
struct Order {
    pair: Pair<std::net::TcpStream>,
    done: oneshot::Sender<()>,
}

/// One of those that a thread has, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Rc<Cell<usize>>);

/// A place at another thread.
#[derive(Debug)]
pub(crate) struct Hand {
    orders: UnboundedSender<Order>,
    _place: Place,
}

impl Place {
    fn new(has: &Rc<Cell<usize>>) -> Self {
        has.set(has.get() + 1);
        Self(Rc::clone(has))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Crew {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, own: Rc::default(), workers: OnceCell::new() }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where a connection that carries much is to go on: with the gateway's own thread unless another has less of that kind.
    ///
    /// # Errors
    /// The other hand.
    pub(crate) fn place(&self) -> Result<Place, Hand> {
        let here = || Ok(Place::new(&self.own));
        if self.own.get() == 0 {
            return here();
        }
        let workers = self.workers.get_or_init(|| {
            let processors = available_parallelism().map_or(1, usize::from);
            (1..processors.min(MOST)).map(|_| Worker::default()).collect()
        });
        let Some(least) = workers.iter().min_by_key(|worker| worker.has.get()) else { return here() };
        if least.has.get() >= self.own.get() {
            return here();
        }
        // It does not start where there are too many, say: then nothing is gained, and nothing lost.
        let thread = least.thread.get_or_init(|| Thread::start(&self.counters).ok());
        match thread.as_ref().and_then(|thread| thread.orders.clone()) {
            Some(orders) => Err(Hand { orders, _place: Place::new(&least.has) }),
            None => here(),
        }
    }
}

impl Thread {
    fn start(counters: &Arc<Counters>) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let counters = Arc::clone(counters);
        let (orders, receiver) = unbounded_channel();
        let work = move || work(&runtime, &counters, receiver);
        let handle = std::thread::Builder::new().name("palisade-carrier".to_owned()).spawn(work)?;
        Ok(Self { orders: Some(orders), handle: Some(handle) })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(handle) = self.handle.take() {
            // All that it has ends with it.
            let _ = handle.join();
        }
    }
}

fn work(runtime: &Runtime, counters: &Arc<Counters>, mut orders: UnboundedReceiver<Order>) {
    let tasks = LocalSet::new();
    tasks.block_on(runtime, async {
        while let Some(Order { pair, done }) = orders.recv().await {
            let counters = Arc::clone(counters);
            spawn_local(async move {
                if let Ok(pair) = pair.map(TcpStream::from_std) {
                    carry_on(pair, &counters).await;
                }
                drop(done);
            });
        }
    });
}

impl Hand {
    /// Has the connection carried on, and waits for its end.
    pub(crate) async fn carry(self, pair: Pair<TcpStream>) {
        let (done, ended) = oneshot::channel();
        if let Ok(pair) = pair.map(TcpStream::into_std)
            && self.orders.send(Order { pair, done }).is_ok()
        {
            // It is never said, only dropped.
            let _ = ended.await;
        }
    }
}
