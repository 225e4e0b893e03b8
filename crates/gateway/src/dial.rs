//! Makes the connection outside: to addresses that were judged, and to no others.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long an address may take before the next is tried beside it (RFC 8305, 8).
const STAGGER: Duration = Duration::from_millis(250);

/// How many addresses are tried.
const MAX_ATTEMPTS: usize = 8;

/// Connects to whichever of `addresses` answers first; they are tried in turn, IPv6 first, families alternating.
///
/// # Errors
///
/// The error that tells most: refused before timed out before unreachable.
pub(crate) async fn dial(addresses: &[SocketAddr], within: Duration) -> io::Result<(TcpStream, SocketAddr)> {
    let mut left = in_turn(addresses).into_iter().take(MAX_ATTEMPTS);
    let mut attempts = JoinSet::new();
    let mut worst = Errno::EHOSTUNREACH;
    let race = async {
        loop {
            if let Some(address) = left.next() {
                attempts.spawn_local(async move { (address, TcpStream::connect(address).await) });
            } else if attempts.is_empty() {
                return Err(io::Error::from(worst));
            }
            tokio::select! {
                Some(done) = attempts.join_next() => match done {
                    Ok((address, Ok(stream))) => return Ok((stream, address)),
                    Ok((_, Err(error))) => worst = more_telling(worst, &error),
                    Err(_) => {}
                },
                () = sleep(STAGGER), if left.len() > 0 => {}
            }
        }
    };
    timeout(within, race).await.unwrap_or_else(|_| Err(Errno::ETIMEDOUT.into()))
}

fn in_turn(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let of = |is_ipv6: bool| addresses.iter().copied().filter(move |address| address.is_ipv6() == is_ipv6);
    let (mut v6, mut v4) = (of(true), of(false));
    let mut turns = Vec::with_capacity(addresses.len());
    while turns.len() < addresses.len() {
        turns.extend(v6.next().into_iter().chain(v4.next()));
    }
    turns
}

fn more_telling(known: Errno, error: &io::Error) -> Errno {
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    let weight = |errno| match errno {
        Errno::ECONNREFUSED => 3,
        Errno::ECONNRESET => 2,
        Errno::ETIMEDOUT => 1,
        _ => 0,
    };
    if weight(errno) >= weight(known) && errno != Errno::UnknownErrno { errno } else { known }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn families_alternate() {
        let addresses = parse(&["1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1", "[::5]:1", "[::6]:1"]);
        let turns = parse(&["[::5]:1", "1.1.1.1:1", "[::6]:1", "2.2.2.2:1", "3.3.3.3:1"]);
        assert_eq!(in_turn(&addresses), turns);
        assert!(in_turn(&[]).is_empty());
    }

    #[test]
    fn a_refusal_tells_more_than_a_missing_route() {
        let error = |errno: Errno| io::Error::from(errno);
        let unreachable = more_telling(Errno::EHOSTUNREACH, &error(Errno::ENETUNREACH));
        assert_eq!(unreachable, Errno::ENETUNREACH);
        let refused = more_telling(unreachable, &error(Errno::ECONNREFUSED));
        assert_eq!(refused, Errno::ECONNREFUSED);
        assert_eq!(more_telling(refused, &error(Errno::ETIMEDOUT)), Errno::ECONNREFUSED);
    }
}
