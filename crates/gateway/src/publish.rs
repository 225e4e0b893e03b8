//! Published ports: connections from outside to a server inside, and to nothing else there.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use nix::errno::Errno;
use palisade_policy::Publish;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::event::{Event, Limit};
use crate::gateway::Inside;
use crate::relay::{relay, reset};
use crate::shared::{Shared, canonical};
use crate::tell::Counted;

/// How many connections wait for the thread that connects into the sandbox.
const QUEUE: usize = 64;

/// A port to connect to, and where the connection is waited for.
type Request = (u16, oneshot::Sender<io::Result<std::net::TcpStream>>);

/// Listeners outside with the ports inside that they lead to.
pub(crate) struct Publication {
    listeners: Vec<(std::net::TcpListener, u16)>,
    connect: mpsc::SyncSender<Request>,
}

/// Listens for `ports`, and makes the thread that connects into the sandbox. It ends with the publication.
pub(crate) fn listen(
    ports: &[Publish],
    inside: Box<dyn Inside>,
) -> io::Result<(Publication, Vec<SocketAddr>)> {
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for entry in ports {
        // Sets SO_REUSEADDR: a run that begins just after another has ended finds its port free.
        let listener = std::net::TcpListener::bind(entry.to)?;
        listener.set_nonblocking(true)?;
        addresses.push(listener.local_addr()?);
        listeners.push((listener, entry.port));
    }
    let (connect, requests) = mpsc::sync_channel::<Request>(QUEUE);
    let run = move || {
        let _ = nix::sys::signal::SigSet::all().thread_block();
        for (port, answer) in requests {
            // Whoever asked may have given up.
            let _ = answer.send(inside.connect(port));
        }
    };
    std::thread::Builder::new().name("palisade-inward".to_owned()).spawn(run)?;
    Ok((Publication { listeners, connect }, addresses))
}

/// Serves a publication until the gateway ends.
pub(crate) fn serve(shared: &Rc<Shared>, publication: Publication) {
    for (listener, port) in publication.listeners {
        let (shared, connect) = (Rc::clone(shared), publication.connect.clone());
        spawn_local(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            loop {
                match listener.accept().await {
                    Ok((outside, peer)) => admit(&shared, &connect, outside, peer, port),
                    Err(error) => {
                        if matches!(error.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE)) {
                            shared.teller.limit(Limit::Descriptors);
                        }
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    }
                }
            }
        });
    }
}

fn admit(
    shared: &Rc<Shared>,
    connect: &mpsc::SyncSender<Request>,
    outside: TcpStream,
    peer: SocketAddr,
    port: u16,
) {
    let (answer, answered) = oneshot::channel();
    let is_full = shared.counters.connections.load(Ordering::Relaxed) >= shared.limits.connections;
    if is_full || connect.try_send((port, answer)).is_err() {
        shared.teller.limit(if is_full { Limit::Connections } else { Limit::Pending });
        return reset(outside);
    }
    let shared = Rc::clone(shared);
    spawn_local(async move {
        let counted = Counted::new(&shared.counters.connections, usize::MAX);
        let inside = timeout(shared.limits.connect_timeout, connected(answered)).await;
        let errno = match &inside {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.raw_os_error().unwrap_or(Errno::EIO as i32)),
            Err(_) => Some(Errno::ETIMEDOUT as i32),
        };
        shared.teller.tell(Event::Published { port, peer: canonical(peer), errno });
        match inside {
            Ok(Ok(inside)) => relay(inside, outside, &shared.crew).await,
            _ => reset(outside),
        }
        drop(counted);
    });
}

async fn connected(answered: oneshot::Receiver<io::Result<std::net::TcpStream>>) -> io::Result<TcpStream> {
    let stream = answered.await.map_err(|_| io::ErrorKind::BrokenPipe)??;
    stream.set_nonblocking(true)?;
    let stream = TcpStream::from_std(stream)?;
    // The connection may still be under way.
    stream.writable().await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}
