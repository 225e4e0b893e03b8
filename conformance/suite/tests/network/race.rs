//! A workload that sends from its first instruction on, in many starts: is there a moment at which more gets out than the
//! policy says?
//!
//! Every start sends to metadata services, to a range inside, and to what is allowed, over both protocols, each in turn as
//! the first thing that it does. The far side must hear what is allowed from each start, and nothing else at all, from any.
//! Under a policy that allows everything it must hear all of it: that is how it is known that the workload sends.
//!
//! `PALISADE_RACE_STARTS` sets how many starts there are for each backend (default 30), `PALISADE_RACE_BACKENDS` which
//! backends there are, with commas between (default `gateway`).

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use palisade_conformance::lab::{self, Endpoint, Lab, Proto};
use palisade_conformance::run::{Runner, process};
use palisade_policy::Link;
use palisade_probe::attempt;
use palisade_probe::script::{Piece, Script, parse_output, text};

/// What a start sends to, and whether it is allowed.
const TARGETS: &[(Proto, &str, bool)] = &[
    (Proto::Tcp, "169.254.169.254:8080", false),
    (Proto::Udp, "169.254.169.254:443", false),
    (Proto::Tcp, "10.1.2.3:8080", false),
    (Proto::Udp, "10.1.2.3:443", false),
    (Proto::Tcp, "1.1.1.1:80", false),
    (Proto::Tcp, "1.1.1.1:8080", true),
    (Proto::Udp, "8.8.8.8:443", true),
];

/// The policy: broad ranges, in which what is denied lies.
fn policy(backend: &str, posture: &str, ports: &str) -> String {
    let link = match (backend, lab::link(false)) {
        ("macvlan", Link { parent, addresses, gateways }) => format!(
            "link: {{ parent: {parent}, addresses: [{}], gateways: [{}] }}\n  ",
            addresses[0], gateways[0]
        ),
        _ => String::new(),
    };
    format!(
        "version: 1\nfilesystem:\n  read_write: [.]\nnetwork:\n  mode: allowlist\n  backend: {backend}\n  {link}\
         metadata: {posture}\n  special_use: {posture}\n  allow:\n    \
         - {{ cidr: 0.0.0.0/0, ports: {ports} }}\n    - {{ cidr: 0.0.0.0/0, ports: [443], protocol: udp }}\n"
    )
}

/// Whether nothing but what is allowed is heard, for each backend.
pub(super) fn nothing_gets_out_early(lab: &Lab, runner: &Runner<'_>) -> Result<(), String> {
    let wanted = std::env::var("PALISADE_RACE_STARTS").ok().and_then(|count| count.parse().ok());
    let backends = std::env::var("PALISADE_RACE_BACKENDS").unwrap_or_else(|_| "gateway".to_owned());
    backends.split(',').try_for_each(|backend| {
        let all = starts(lab, runner, &policy(backend, "allow", "[80, 8080]"), (backend, "open"), 2)?;
        if all.denied < 2 * TARGETS.iter().filter(|(.., allowed)| !allowed).count() {
            return Err(format!("{backend}: where everything is allowed, not everything was heard: {all:?}"));
        }
        let wanted: usize = wanted.unwrap_or(30);
        let start = Instant::now();
        let heard = starts(lab, runner, &policy(backend, "block", "[8080]"), (backend, "race"), wanted)?;
        if let Some(where_to) = &heard.elsewhere {
            return Err(format!(
                "{backend}: of {wanted} starts, {} times something came out: {where_to}",
                heard.denied
            ));
        }
        println!(
            "{backend}: {wanted} starts in {:.1} s, {} heard that are allowed, 0 that are not",
            start.elapsed().as_secs_f64(),
            heard.allowed
        );
        Ok(())
    })
}

/// What the far side heard of some starts.
#[derive(Debug)]
struct Heard {
    allowed: usize,
    denied: usize,
    /// One place that is not allowed.
    elsewhere: Option<String>,
}

/// Starts the workload so many times, several at once. From each start what is allowed must be heard.
fn starts(
    lab: &Lab,
    runner: &Runner<'_>,
    policy: &str,
    (backend, what): (&str, &str),
    wanted: usize,
) -> Result<Heard, String> {
    let file = lab.world().base.join(format!("tools/{what}-{backend}.yaml"));
    fs::write(&file, policy).map_err(|error| format!("write {}: {error}", file.display()))?;
    let since = SystemTime::now();
    // One after the other where all have the one address that the policy names.
    let workers = if backend == "macvlan" { 1 } else { runner.workers };
    let parts: Vec<usize> = (0..workers).collect();
    let nonces = runner.each(
        &parts,
        |_| false,
        |place, part| -> Result<Vec<String>, String> {
            let _stand = place.stand(&[]).map_err(|error| format!("make a workspace: {error}"))?;
            let numbers = (0..wanted).filter(|number| number % workers == *part);
            numbers.map(|number| one(lab, &file, &format!("{what}-{backend}-{number}"), number)).collect()
        },
    );
    let nonces = nonces.map_err(|error| error.to_string())?;
    let nonces = nonces.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    let hits = lab.canary().hits_since(since);
    if lab.canary().dropped() > 0 {
        return Err("the far side's log is full".to_owned());
    }
    let allowed: Vec<(Proto, SocketAddr)> =
        TARGETS.iter().filter(|(.., allowed)| *allowed).filter_map(parsed).collect();
    let is_allowed = |hit: &&_| {
        let hit: &palisade_conformance::lab::Hit = hit;
        matches!(hit.local, Endpoint::Inet(local) if allowed.contains(&(hit.proto, local)))
    };
    let (there, elsewhere): (Vec<_>, Vec<_>) = hits.iter().partition(is_allowed);
    for nonce in &nonces {
        let mark = format!("{nonce}.");
        let heard = there.iter().filter(|hit| hit.carries(&mark)).count();
        if heard != allowed.len() {
            return Err(format!("{backend}: of the start {nonce} {heard} of {} were heard", allowed.len()));
        }
    }
    let elsewhere_is = elsewhere.first().map(|hit| format!("{:?} to {}", hit.proto, hit.local));
    Ok(Heard { allowed: there.len(), denied: elsewhere.len(), elsewhere: elsewhere_is })
}

fn parsed((proto, address, _): &(Proto, &str, bool)) -> Option<(Proto, SocketAddr)> {
    Some((*proto, address.parse().ok()?))
}

/// One start, which begins with another target each time; what it sends says its nonce.
fn one(lab: &Lab, policy: &PathBuf, nonce: &str, number: usize) -> Result<String, String> {
    /// How long an answer may take, in milliseconds.
    const PATIENCE: i32 = 5000;
    let world = lab.world();
    let runtime = world.tool("runtime").ok_or("the lab has no runtime")?;
    let said = || text([Piece::Nonce, Piece::from(".")]);
    let targets = TARGETS.iter().filter_map(parsed).cycle().skip(number % TARGETS.len()).take(TARGETS.len());
    let script: Script = targets
        .map(|(proto, to)| {
            let by = if proto == Proto::Tcp { "tcp_talk" } else { "udp" };
            attempt!(by, to.ip().to_string(), to.port(), said(), PATIENCE)
        })
        .collect();
    let mut command = Command::new(runtime);
    command.args(["run", "--policy"]).arg(policy).arg("--").arg(&world.work.probe);
    command.args(script.argv(nonce).map_err(|error| error.to_string())?);
    command.current_dir(&world.work.dir).env_clear().env("PATH", &world.caller_path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let raw = process::run(lab, &mut command, None, None, Duration::from_secs(60));
    match parse_output(&raw.stdout, nonce).done {
        true => Ok(nonce.to_owned()),
        false => Err(format!("the start {nonce}: {:?}: {}", raw.end, String::from_utf8_lossy(&raw.stderr))),
    }
}
