//! Where a `macvlan` interface is put: `link`.

use std::net::IpAddr;

use crate::diagnostic::printable;
use crate::policy::{Backend, Clause, Link};
use crate::read::Reader;
use crate::refusal::Refusal;
use crate::yaml::Node;

pub(in crate::read) const KEYS: &[&str] = &["parent", "addresses", "gateways"];

/// Longest name of an interface, in bytes (netdevice(7): IFNAMSIZ less the terminating zero).
const MOST_NAME: usize = 15;

const HELP: &str = "write `link: {parent: eth0, addresses: [192.0.2.7], gateways: [192.0.2.1]}`";

/// Reads the place of an interface for `backend`, which only `macvlan` has to be told.
pub(super) fn read(reader: &mut Reader<'_>, node: Option<&Node>, backend: Backend) -> Option<Link> {
    let node = node?;
    reader.locate(Clause::new("network.link"), node);
    let before = reader.problem_count();
    let fields = reader.fields(node, "network.link");
    let parent = fields.get("parent").and_then(|node| {
        let text = reader.text(node, "`parent`")?;
        reader.parsed(node, name(text)).map(str::to_owned)
    });
    let mut list = |key: &str, label: &'static str, what: &str| -> Vec<IpAddr> {
        let mut found: Vec<IpAddr> = Vec::new();
        for node in reader.list(fields.get(key).copied(), label) {
            let Some(text) = reader.text(node, what) else { continue };
            let Some(address) = reader.parsed(node, address(text)) else { continue };
            if found.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
                reader.report(node, format!("more than one {what} of a family")).help("name one of each");
            }
            found.push(address);
        }
        found
    };
    let (addresses, gateways) = (
        list("addresses", "network.link.addresses", "address"),
        list("gateways", "network.link.gateways", "gateway"),
    );
    if reader.problem_count() > before {
        return None;
    }
    let families = |list: &[IpAddr]| (list.iter().any(IpAddr::is_ipv4), list.iter().any(IpAddr::is_ipv6));
    let Some(parent) = parent.filter(|_| !addresses.is_empty()) else {
        reader.report(node, "`link` names no parent or no address").help(HELP);
        return None;
    };
    if families(&addresses) != families(&gateways) {
        reader.report(node, "`link` needs a gateway for each address, of its family").help(HELP);
        return None;
    }
    if backend != Backend::Macvlan {
        reader
            .report(node, "`link` cannot act: only `backend: macvlan` is told where it is put")
            .help("remove `link`");
    }
    Some(Link { parent, addresses, gateways })
}

/// Checks the name of an interface (net/core/dev.c, `dev_valid_name`).
pub(super) fn name(text: &str) -> Result<&str, Refusal> {
    let fits = (1..=MOST_NAME).contains(&text.len()) && text != "." && text != "..";
    if fits && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':') {
        return Ok(text);
    }
    Err(Refusal::new(
        format!("`{}` is no name of an interface", printable(text)),
        "1 to 15 characters, such as eth0",
    ))
}

impl Link {
    /// Reads `PARENT,ADDRESS=ROUTER`, or with one pair for each family: the same in one word.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        const HELP: &str = "write `PARENT,ADDRESS=ROUTER`, such as eth0,192.0.2.7=192.0.2.1";
        let mut words = text.split(',');
        let parent = name(words.next().unwrap_or_default())?.to_owned();
        let (mut addresses, mut gateways) = (Vec::new(), Vec::new());
        for pair in words {
            let Some((own, router)) = pair.split_once('=') else {
                return Err(Refusal::new(format!("`{}` is no pair of addresses", printable(pair)), HELP));
            };
            let (own, router) = (address(own)?, address(router)?);
            let is_second = addresses.iter().any(|other: &IpAddr| other.is_ipv4() == own.is_ipv4());
            if is_second || own.is_ipv4() != router.is_ipv4() {
                return Err(Refusal::new("each family has one pair of addresses", HELP));
            }
            addresses.push(own);
            gateways.push(router);
        }
        if addresses.is_empty() {
            return Err(Refusal::new("a link has an address", HELP));
        }
        Ok(Self { parent, addresses, gateways })
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.parent)?;
        self.addresses.iter().zip(&self.gateways).try_for_each(|(own, router)| write!(f, ",{own}={router}"))
    }
}

fn address(text: &str) -> Result<IpAddr, Refusal> {
    match text.parse::<IpAddr>() {
        Ok(address) if !address.is_unspecified() && !address.is_multicast() && !address.is_loopback() => {
            Ok(address)
        }
        _ => Err(Refusal::new(format!("`{}` is no address of an interface", printable(text)), HELP)),
    }
}
