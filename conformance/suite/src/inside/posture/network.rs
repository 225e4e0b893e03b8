//! The network, as far as it can be read. Nothing is sent: where a route leads is not known.

use super::super::{Finding, Verdict::*};
use super::of_file;
use crate::catalogue::Severity::{High, Low, Medium};

const NOT_TRIED: &str = "where it leads was not tried: nothing is sent";

/// `RTF_REJECT` (linux/route.h): a route that leads nowhere.
const REJECT: u32 = 0x200;

pub(super) fn look() -> Vec<Finding> {
    let default = |id, about| Finding::new(id, High, about, Unknown, "");
    vec![
        of_file(
            Finding::new("net/interfaces", Medium, "interfaces beside lo", Unknown, ""),
            "/proc/net/dev",
            |finding, text| finding.open_with(&interfaces(text)),
        ),
        of_file(default("net/default-route", "a default route"), "/proc/net/route", |finding, text| {
            led(finding, route(text))
        }),
        of_file(
            default("net/default-route6", "a default route of IPv6"),
            "/proc/net/ipv6_route",
            |finding, text| led(finding, route6(text)),
        ),
        of_file(
            Finding::new("ipc/abstract-sockets", Low, "abstract sockets of others", Unknown, ""),
            "/proc/net/unix",
            |finding, text| finding.open_with(&abstract_sockets(text)),
        ),
    ]
}

fn led(finding: Finding, interface: Option<&str>) -> Finding {
    match interface {
        Some(interface) => finding.is(Open, format!("by {interface}")).note(NOT_TRIED),
        None => finding.is(Closed, "none").note("a socket that is handed in, or a proxy, needs none"),
    }
}

fn interfaces(text: &str) -> Vec<String> {
    let names = text.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    names.filter(|name| name != "lo").collect()
}

/// The interface of the default route. Interface, destination, gateway, flags, ...: in hexadecimal (proc_pid_net(5)).
fn route(text: &str) -> Option<&str> {
    text.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(words.get(3)?, 16).ok()?;
        (*words.get(1)? == "00000000" && flags & REJECT == 0).then_some(*words.first()?)
    })
}

/// As [`route`]. Destination, length, source, length, next hop, metric, references, uses, flags, interface.
fn route6(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(words.get(8)?, 16).ok()?;
        let everything = words.first()?.bytes().all(|byte| byte == b'0') && *words.get(1)? == "00";
        let interface = *words.get(9)?;
        (everything && flags & REJECT == 0 && interface != "lo").then_some(interface)
    })
}

fn abstract_sockets(text: &str) -> Vec<String> {
    let names = text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(7));
    names.filter(|name| name.starts_with('@')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_route_is_told_from_others() {
        let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        assert_eq!(
            route(&format!("{head}eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n")),
            None
        );
        assert_eq!(
            route(&format!("{head}eth0\t00000000\t010200C0\t0003\t0\t0\t0\t0\t0\t0\t0\n")),
            Some("eth0")
        );
        assert_eq!(route(&format!("{head}*\t00000000\t00000000\t0200\t0\t0\t0\t0\t0\t0\t0\n")), None);
        let zero = "0".repeat(32);
        let line = |length: &str, flags: &str, interface: &str| {
            format!("{zero} {length} {zero} 00 {zero} ffffffff 00000001 00000000 {flags} {interface}\n")
        };
        assert_eq!(route6(&line("00", "00200200", "lo")), None);
        assert_eq!(route6(&line("00", "00000003", "eth0")), Some("eth0"));
        assert_eq!(route6(&line("40", "00000003", "eth0")), None);
    }

    #[test]
    fn interfaces_and_sockets_are_listed() {
        let text = "Inter-|   Receive\n face |bytes\n    lo:       0 0\n  eth0: 1 2\n";
        assert_eq!(interfaces(text), ["eth0"]);
        let text = "Num RefCount Protocol Flags Type St Inode Path\n\
                    0: 2 0 1 1 1 5 @/tmp/.X11-unix/X0\n0: 2 0 1 1 1 6 /run/x\n0: 2 0 1 1 1 7\n";
        assert_eq!(abstract_sockets(text), ["@/tmp/.X11-unix/X0"]);
    }
}
