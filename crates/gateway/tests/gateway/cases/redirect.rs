//! Behind a packet filter: what was dialled is what the filter has turned to the gateway.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use palisade_gateway::{Event, Reason};

use crate::Case;
use crate::lab::{Lab, echo_server};

pub(crate) const ALL: &[Case] = &[("redirect::any_port", any_port)];

/// Everything that is not for a port of its own goes to port 80, where the gateway listens, too.
const RULES: &str = "table inet palisade {
    chain output {
        type nat hook output priority -100; policy accept;
        meta l4proto tcp tcp dport != 80 redirect to :80
    }
}";

fn any_port() {
    let lab = Lab::new(
        "{ mode: allowlist, allow: [{ cidr: 93.184.60.0/24, ports: any }, { cidr: \"2600:9999:60::/48\", ports: any }] }",
    );
    let loaded = lab.inside(|| {
        let child =
            Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let Ok(mut child) = child else { return false };
        child.stdin.take().expect("piped").write_all(RULES.as_bytes()).expect("written");
        child.wait_with_output().expect("nft ends").status.success()
    });
    if !loaded {
        assert!(std::env::var_os("PALISADE_MUST_WORK").is_none(), "nftables is needed");
        println!("skipped: redirect::any_port: no nftables");
        return;
    }
    echo_server("93.184.60.1:7001");
    echo_server("[2600:9999:60::1]:7002");
    let reached = echo_server("93.184.61.1:7003");
    lab.echoes("93.184.60.1:7001").expect("IPv4");
    lab.echoes("[2600:9999:60::1]:7002").expect("IPv6");
    for (to, reason) in [("93.184.61.1:7003", Reason::NoRule), ("127.0.0.1:7004", Reason::Own)] {
        let address = to.parse().unwrap();
        lab.assert_reset(to, |event| {
            matches!(event, Event::Denied { address: told, reason: why, .. } if *told == address && *why == reason)
        });
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}
