//! What the gateway costs, beside loopback without one. Measured and printed where `PALISADE_MEASURE` is set; nothing is
//! asserted about time.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::Case;
use crate::lab::{Lab, echo, echo_server, server};

pub(crate) const ALL: &[Case] = &[("measure::against_loopback", against_loopback)];

const BYTES: usize = 512 << 20;
const CHUNK: usize = 256 << 10;
const ROUNDS: usize = 5;
const CONNECTIONS: u32 = 500;

fn against_loopback() {
    if std::env::var_os("PALISADE_MEASURE").is_none() {
        return;
    }
    let lab = Lab::new("{ mode: allowlist, allow: [{ cidr: 93.184.70.0/24, ports: [443] }] }");
    server("93.184.70.1:443", |mut stream| {
        let mut buffer = vec![0; CHUNK];
        while let Ok(1..) = stream.read(&mut buffer) {}
        let _ = stream.write_all(b"x");
    });
    server("93.184.70.2:443", |mut stream| {
        let buffer = vec![7; CHUNK];
        for _ in 0..BYTES / CHUNK {
            stream.write_all(&buffer).unwrap();
        }
    });
    echo_server("93.184.70.3:443");
    let through = |to: &str| lab.connect(to).unwrap();
    let beside = |to: &str| TcpStream::connect(to).unwrap();
    for (what, work) in [("up", up as fn(TcpStream)), ("down", down)] {
        let to = if what == "up" { "93.184.70.1:443" } else { "93.184.70.2:443" };
        let mut costs = (Vec::new(), Vec::new());
        // Interleaved, so that both meet the same noise.
        for _ in 0..ROUNDS {
            costs.0.push(cost(|| work(through(to))));
            costs.1.push(cost(|| work(beside(to))));
        }
        let middle = |costs: &[(Duration, Duration)]| {
            let of = |read: fn(&(Duration, Duration)) -> Duration| median(costs.iter().map(read).collect());
            (of(|cost| cost.0), of(|cost| cost.1))
        };
        let (gateway, loopback) = (middle(&costs.0), middle(&costs.1));
        let rate = |time: Duration| (BYTES >> 20) as f64 / time.as_secs_f64();
        println!(
            "{what}: {:.0} MiB/s, loopback {:.0} MiB/s: {:.2}; processor time {:.0?}, loopback {:.0?}: {:.2}",
            rate(gateway.0),
            rate(loopback.0),
            rate(gateway.0) / rate(loopback.0),
            gateway.1,
            loopback.1,
            gateway.1.as_secs_f64() / loopback.1.as_secs_f64()
        );
    }
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        times.0.push(lab.inside(connects));
        times.1.push(connects());
    }
    let (gateway, loopback) = (median(times.0) / CONNECTIONS, median(times.1) / CONNECTIONS);
    let ratio = gateway.as_secs_f64() / loopback.as_secs_f64();
    println!("connect, eight bytes and back: {gateway:?}, loopback {loopback:?}: {ratio:.2}");
    memory(&lab);
}

/// What the gateway keeps for connections that say nothing; what the kernel keeps for their sockets is not in it.
fn memory(lab: &Lab) {
    const IDLE: usize = 1000;
    let listener = TcpListener::bind("93.184.70.4:443").unwrap();
    let mut ends = Vec::with_capacity(2 * IDLE);
    let before = resident();
    for _ in 0..IDLE {
        ends.push(lab.connect("93.184.70.4:443").unwrap());
        ends.push(listener.accept().unwrap().0);
    }
    let grown = resident().saturating_sub(before);
    println!("{IDLE} idle connections: {} KiB, {} bytes each", grown >> 10, grown / IDLE);
}

/// The memory of this process, in bytes (proc_pid_statm(5)).
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn connects() -> Duration {
    timed(|| {
        for _ in 0..CONNECTIONS {
            echo(&mut TcpStream::connect("93.184.70.3:443").unwrap()).unwrap();
        }
    })
}

fn up(mut stream: TcpStream) {
    let buffer = vec![7; CHUNK];
    for _ in 0..BYTES / CHUNK {
        stream.write_all(&buffer).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

fn down(mut stream: TcpStream) {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        total += length;
    }
    assert_eq!(total, BYTES);
}

/// The time of `work`, and the processor time of this process meanwhile: of both ends and of the gateway. The latter is what a
/// loaded machine tells the truth about.
fn cost(work: impl FnOnce()) -> (Duration, Duration) {
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        usage.user_time() + usage.system_time()
    };
    let before = used();
    let time = timed(work);
    (time, Duration::from_micros((used() - before).num_microseconds().unsigned_abs()))
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
