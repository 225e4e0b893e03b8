//! What `scripts/bench-network` measures with: one program that is the server outside, and in each sandbox the client that is told
//! what to do on its standard input. Of the standard library alone, so that `rustc` builds it in seconds.
//!
//! `load serve ADDRESS`: servers on ports 7001 to 7005 of it; says "ready". `load client ADDRESS`: reads one command a line,
//! and answers each with one line, numbers or `error: ...`:
//!
//! | command | answer |
//! |---|---|
//! | `up STREAMS MILLISECONDS` | bytes a second that arrived at the server |
//! | `down STREAMS MILLISECONDS` | bytes a second that arrived here |
//! | `connect COUNT` | median ns until connect(2) returns, and until the server's first byte is here |
//! | `rate THREADS MILLISECONDS` | connections a second, each with the server's first byte |
//! | `hold COUNT` | how many idle connections are held now |
//! | `release` | 0 |

use std::env;
use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Reads to the end, and answers with the count.
const SINK: u16 = 7001;
/// Writes for as long as anybody reads.
const SOURCE: u16 = 7002;
/// Says two bytes, and ends.
const HELLO: u16 = 7003;
/// Says two bytes, and keeps the connection.
const HOLD: u16 = 7004;
/// Ends what is kept.
const RELEASE: u16 = 7005;

/// As iperf3 does by default.
const BUFFER: usize = 128 << 10;
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> io::Result<()> {
    let mut words = env::args().skip(1);
    match (words.next().as_deref(), words.next()) {
        (Some("serve"), Some(address)) => serve(&address),
        (Some("client"), Some(address)) => client(&address),
        _ => Err(io::Error::other("usage: load serve|client ADDRESS")),
    }
}

fn place(address: &str, port: u16) -> io::Result<SocketAddr> {
    let address = address.parse().map_err(io::Error::other)?;
    Ok(SocketAddr::new(address, port))
}

fn serve(address: &str) -> io::Result<()> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let listen = |port| TcpListener::bind(place(address, port)?);
    let each = |port, work: fn(TcpStream) -> io::Result<()>| -> io::Result<()> {
        let listener = listen(port)?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || work(stream));
            }
        });
        Ok(())
    };
    each(SINK, |mut stream| {
        let mut buffer = vec![0; BUFFER];
        let mut total = 0u64;
        loop {
            match stream.read(&mut buffer)? {
                0 => return stream.write_all(&total.to_be_bytes()),
                length => total += u64::try_from(length).unwrap_or(0),
            }
        }
    })?;
    each(SOURCE, |mut stream| {
        let buffer = vec![7; BUFFER];
        loop {
            stream.write_all(&buffer)?;
        }
    })?;
    // Not a thread for each: what is measured is the carrier's part.
    let hello = listen(HELLO)?;
    thread::spawn(move || {
        for mut stream in hello.incoming().flatten() {
            let _ = stream.write_all(b"hi");
        }
    });
    let hold = listen(HOLD)?;
    thread::spawn(move || {
        for mut stream in hold.incoming().flatten() {
            let _ = stream.write_all(b"hi");
            keep.lock().expect("lock").push(stream);
        }
    });
    let release = listen(RELEASE)?;
    println!("ready");
    for _ in release.incoming() {
        kept.lock().expect("lock").clear();
    }
    Ok(())
}

fn client(address: &str) -> io::Result<()> {
    let mut held = Vec::new();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        match command(address, &words, &mut held) {
            Ok(answer) => println!("{answer}"),
            Err(error) => println!("error: {error}"),
        }
    }
    Ok(())
}

fn command(address: &str, words: &[&str], held: &mut Vec<TcpStream>) -> io::Result<String> {
    let number = |at: usize| -> io::Result<u64> {
        words.get(at).ok_or(io::ErrorKind::InvalidInput)?.parse().map_err(io::Error::other)
    };
    match words[0] {
        "up" | "down" => {
            let is_up = words[0] == "up";
            let to = place(address, if is_up { SINK } else { SOURCE })?;
            let within = Duration::from_millis(number(2)?);
            Ok(carry(
                number(1)?,
                |start| if is_up { up(to, start, within) } else { down(to, start, within) },
            )?
            .to_string())
        }
        "connect" => latency(place(address, HELLO)?, number(1)?),
        "rate" => rate(place(address, HELLO)?, number(1)?, Duration::from_millis(number(2)?)),
        "hold" => {
            let count = usize::try_from(number(1)?).map_err(io::Error::other)?;
            let to = place(address, HOLD)?;
            while held.len() < count {
                let mut stream = open(to)?;
                stream.read_exact(&mut [0; 2])?;
                held.push(stream);
            }
            Ok(held.len().to_string())
        }
        "release" => {
            held.clear();
            open(place(address, RELEASE)?)?;
            Ok("0".to_owned())
        }
        other => Err(io::Error::other(format!("no command {other:?}"))),
    }
}

fn open(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Does `work` on as many threads, and adds up the bytes a second of each.
fn carry(streams: u64, work: impl Fn(Instant) -> io::Result<f64> + Sync) -> io::Result<u64> {
    let start = Instant::now();
    let rates = thread::scope(|scope| {
        let threads: Vec<_> = (0..streams).map(|_| scope.spawn(|| work(start))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<io::Result<Vec<f64>>>()
    })?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is far below 2^53")]
    Ok(rates.iter().sum::<f64>() as u64)
}

/// What has arrived counts, not what some buffer has taken.
fn up(to: SocketAddr, start: Instant, within: Duration) -> io::Result<f64> {
    let mut stream = open(to)?;
    let buffer = vec![7; BUFFER];
    while start.elapsed() < within {
        stream.write_all(&buffer)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut total = [0; 8];
    stream.read_exact(&mut total)?;
    Ok(u64::from_be_bytes(total) as f64 / start.elapsed().as_secs_f64())
}

fn down(to: SocketAddr, start: Instant, within: Duration) -> io::Result<f64> {
    let mut stream = open(to)?;
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    while start.elapsed() < within {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => total += length,
        }
    }
    Ok(total as f64 / start.elapsed().as_secs_f64())
}

/// Connects, and reads the first byte of two: to close with one unread is a reset, which leaves no `TIME_WAIT` behind. Without
/// that, the ports of a client are used up in seconds.
fn greet(to: SocketAddr) -> io::Result<(Duration, Duration)> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(to)?;
    let connected = start.elapsed();
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.read_exact(&mut [0; 1])?;
    Ok((connected, start.elapsed()))
}

fn latency(to: SocketAddr, count: u64) -> io::Result<String> {
    let mut both = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (connected, greeted) = greet(to)?;
        both.0.push(connected);
        both.1.push(greeted);
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos()
    };
    Ok(format!("{} {}", median(both.0), median(both.1)))
}

fn rate(to: SocketAddr, threads: u64, within: Duration) -> io::Result<String> {
    let is_over = AtomicBool::new(false);
    let start = Instant::now();
    let count = thread::scope(|scope| {
        let count = || -> io::Result<u64> {
            let mut done = 0;
            while !is_over.load(Ordering::Relaxed) {
                greet(to)?;
                done += 1;
            }
            Ok(done)
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(count)).collect();
        thread::sleep(within);
        is_over.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<io::Result<u64>>()
    })?;
    Ok(format!("{:.0}", count as f64 / start.elapsed().as_secs_f64()))
}
