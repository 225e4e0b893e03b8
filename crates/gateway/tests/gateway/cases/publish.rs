//! Published ports: a server inside is reached, and nothing else there.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use nix::sched::{CloneFlags, setns};
use palisade_gateway::{Event, Inside};
use palisade_policy::{Clause, Publish};

use crate::Case;
use crate::lab::{Lab, PATIENCE, assert_closed, echo};

pub(crate) const ALL: &[Case] = &[("publish::reaches_a_server_inside", reaches_a_server_inside)];

struct Door(File);

impl Inside for Door {
    fn connect(&self, port: u16) -> io::Result<TcpStream> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET)?;
                TcpStream::connect(("127.0.0.1", port))
            });
            thread.join().expect("no panic")
        })
    }
}

fn entry(port: u16, to: &str) -> Publish {
    Publish { clause: Clause::entry("network.publish", 0), port, to: to.parse().expect("an address") }
}

fn dial(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("it is listened on");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn reaches_a_server_inside() {
    let lab = Lab::new("{ mode: allowlist }");
    let listener = lab.inside(|| TcpListener::bind("127.0.0.1:3000").unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 8];
            while stream.read_exact(&mut buffer).is_ok() {
                stream.write_all(&buffer).unwrap();
            }
        }
    });
    let gateway = lab.gateway.as_ref().unwrap();
    let ports = [entry(3000, "127.0.0.50:0"), entry(3000, "[::1]:0"), entry(3001, "127.0.0.50:0")];
    let addresses = gateway.publish(&ports, Door(lab.namespace())).expect("published");
    for &address in &addresses[..2] {
        let mut stream = dial(address);
        echo(&mut stream).unwrap();
        lab.wait_for(|event| {
            matches!(event, Event::Published { port: 3000, peer, errno: None } if *peer == stream.local_addr().unwrap())
        });
    }
    // Nobody listens on 3001 inside. Who is slow to wake hears of the reset from connect(2) already.
    let error =
        TcpStream::connect(addresses[2]).and_then(|mut stream| stream.read_exact(&mut [0])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    lab.wait_for(|event| {
        matches!(event, Event::Published { port: 3001, errno: Some(nix::libc::ECONNREFUSED), .. })
    });
    // What is taken cannot be published, and then nothing is.
    let taken = [entry(3000, "127.0.0.51:0"), entry(3000, &addresses[0].to_string())];
    let error = gateway.publish(&taken, Door(lab.namespace())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    drop(lab);
    assert_closed(|| TcpStream::connect(addresses[0]));
}
