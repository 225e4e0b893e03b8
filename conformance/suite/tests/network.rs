//! Random network policies and destinations near their edges, through the real `palisade run` in the lab, against the pure
//! model of what a policy says about a destination.
//!
//! What the model allows must succeed, and be heard on the far side at an address that it allows; what it denies must fail, at
//! once, and nothing may be heard of it anywhere. `PALISADE_NETWORK_CASES` sets how many policies are tried (default 16).
//!
//! That the comparison can fail is tested too: a gateway that does not look at ports has to be found out, and the smallest
//! policy that shows it has to be small.

#[path = "network/case.rs"]
mod case;
#[path = "support/palisade.rs"]
mod palisade;
#[path = "network/race.rs"]
mod race;

use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use libtest_mimic::{Arguments, Failed, Trial};
use nix::errno::Errno;
use palisade_conformance::catalogue::model::{allows_address, reached_by_name};
use palisade_conformance::lab::canary::{Hit, zone};
use palisade_conformance::lab::{self, Endpoint, Lab, LabOptions, Proto};
use palisade_conformance::run::Runner;
use palisade_conformance::run::place::Place;
use palisade_conformance::run::process;
use palisade_conformance::verify;
use palisade_policy::{Document, Network, Protocol};
use palisade_probe::script::{Piece, Script, Statement, parse_output, text};
use palisade_probe::{attempt, control};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use case::{Case, To, cases};

fn main() -> ExitCode {
    if let Some(status) = verify::hidden_main() {
        return status.into();
    }
    let (inner, mut words) = verify::arguments();
    if inner {
        let exe = PathBuf::from(words.remove(1));
        // One at a time: what the far side hears is theirs who run.
        let arguments = Arguments { test_threads: Some(1), ..Arguments::from_iter(words) };
        return match enter(&exe) {
            Ok(lab) => libtest_mimic::run(&arguments, trials(Some(Arc::new(lab)))).exit_code(),
            Err(why) => {
                eprintln!("error: {why}");
                ExitCode::FAILURE
            }
        };
    }
    let arguments = Arguments::from_iter(words.clone());
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(None)).exit_code();
    }
    outside(words)
}

/// All of them; without a lab, for a list.
fn trials(lab: Option<Arc<Lab>>) -> Vec<Trial> {
    type Check = fn(&Lab, &Runner<'_>) -> Result<(), String>;
    let checks: [(&str, Check); 2] = [
        ("random-networks-let-out-what-the-model-says", random_networks),
        ("nothing-gets-out-early", race::nothing_gets_out_early),
    ];
    let trial = |(name, check): (&str, Check)| {
        let lab = lab.clone();
        Trial::test(name, move || {
            let Some(lab) = lab else { return Ok(()) };
            let Some(document) = Document::builtin("default") else {
                return Err("no built-in policy".into());
            };
            check(&lab, &Runner::new(&lab, "default", &document.policy)).map_err(Failed::from)
        })
    };
    checks.map(trial).into()
}

/// Builds the runtime, then enters a lab with this program inside.
fn outside(words: Vec<OsString>) -> ExitCode {
    let exe = match palisade::build() {
        Ok(exe) => exe,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::FAILURE;
        }
    };
    let own = words.into_iter().skip(1);
    match lab::enter([verify::SUITE.into(), exe.into_os_string()].into_iter().chain(own).collect()) {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("error: {error}\nhint: {}", error.hint().unwrap_or("none"));
            ExitCode::FAILURE
        }
    }
}

fn enter(exe: &Path) -> Result<Lab, String> {
    let tools = vec![("runtime".to_owned(), exe.to_owned())];
    lab::build(&LabOptions { tools, links: true, ..LabOptions::default() }).map_err(|error| error.to_string())
}

fn random_networks(lab: &Lab, runner: &Runner<'_>) -> Result<(), String> {
    let tried = runner.each(
        &[()],
        |()| true,
        |place, ()| {
            let wanted = std::env::var("PALISADE_NETWORK_CASES").ok().and_then(|count| count.parse().ok());
            let random = TestRunner::new(config(wanted.unwrap_or(16)));
            if let Some((why, case)) = try_policies(lab, place, random, Defect::None)? {
                return Err(format!("{why}\nby `palisade run --policy FILE`, FILE being\n{}", case.policy));
            }
            a_seeded_defect_is_found(lab, place)
        },
    );
    tried.map_err(|error| error.to_string())?.into_iter().collect()
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() }
}

/// Always the same policies, so that this does not depend on luck.
fn a_seeded_defect_is_found(lab: &Lab, place: &mut Place<'_>) -> Result<(), String> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let random = TestRunner::new_with_rng(config(256), rng);
    let found = try_policies(lab, place, random, Defect::PortsIgnored)?;
    let Some((why, case)) = found else { return Err("the seeded defect was not found".to_owned()) };
    println!("seeded defect: {why}\nunder the policy\n{}", case.policy);
    if case.rules > 2 || case.targets.len() > 2 {
        return Err(format!("the policy that shows the seeded defect is not small:\n{case:#?}"));
    }
    Ok(())
}

/// What is wrong with the sandbox on purpose.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Defect {
    None,
    /// The gateway does not look at the ports of rules.
    PortsIgnored,
}

/// The smallest case that fails, and how, if there is one.
fn try_policies(
    lab: &Lab,
    place: &mut Place<'_>,
    mut runner: TestRunner,
    defect: Defect,
) -> Result<Option<(String, Case)>, String> {
    let place = std::cell::RefCell::new(place);
    let count = std::cell::Cell::new(0_u32);
    let result = runner.run(&cases(), |raw| {
        count.set(count.get() + 1);
        let nonce = format!("network{}x{}", defect as u8, count.get());
        one(lab, &mut place.borrow_mut(), &Case::of(&raw), defect, &nonce).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => Ok(None),
        Err(TestError::Fail(why, raw)) => Ok(Some((why.to_string(), Case::of(&raw)))),
        Err(TestError::Abort(why)) => Err(format!("aborted: {why}")),
    }
}

/// What is sent to one destination says so: the nonce and its number.
fn mark(nonce: &str, number: usize) -> String {
    format!("{nonce}q{number}.")
}

fn statement(number: usize, (to, protocol, port): &(To, Protocol, u16)) -> Statement {
    /// How long an answer may take, in milliseconds. What is denied takes none of it.
    const PATIENCE: i32 = 3000;
    let said = text([Piece::Nonce, Piece::from(format!("q{number}.").as_str())]);
    match (to, protocol) {
        (To::Address(address), Protocol::Tcp) => {
            attempt!("tcp_talk", address.to_string(), *port, said, PATIENCE)
        }
        (To::Address(address), Protocol::Udp) => attempt!("udp", address.to_string(), *port, said, PATIENCE),
        (To::Name(name, v6), _) => {
            attempt!("tcp_name", name.as_str(), *port, said, PATIENCE, if *v6 { 28 } else { 1 })
        }
    }
}

/// The addresses at which the model lets it be heard; none: it is denied.
fn heard_at(lab: &Lab, network: &Network, (to, protocol, port): &(To, Protocol, u16)) -> Vec<IpAddr> {
    match to {
        To::Address(address) => {
            let allowed = allows_address(network, lab.world(), *protocol, *address, *port).is_some();
            allowed.then(|| address.to_canonical()).into_iter().collect()
        }
        To::Name(name, _) => {
            let resolved = zone::addresses(name.trim_end_matches('.'));
            reached_by_name(network, lab.world(), (*protocol, *port), name, &resolved)
        }
    }
}

fn one(lab: &Lab, place: &mut Place<'_>, case: &Case, defect: Defect, nonce: &str) -> Result<(), String> {
    let document =
        Document::parse("case.yaml", &case.policy).map_err(|why| format!("the policy is refused: {why}"))?;
    let network = &document.policy.network;
    let stand = place.stand(&[]).map_err(|error| format!("make a workspace: {error}"))?;
    let start = SystemTime::now();
    let script: Script =
        case.targets.iter().enumerate().map(|(number, target)| statement(number, target)).collect();
    let transcript = run(lab, &case.policy, script, defect, nonce)?;
    drop(stand);
    let hits = lab.canary().hits_since(start);
    let mut open: Vec<SocketAddr> = Vec::new();
    for (number, target) in case.targets.iter().enumerate() {
        let (_, protocol, port) = target;
        let at: Vec<SocketAddr> =
            heard_at(lab, network, target).into_iter().map(|ip| SocketAddr::new(ip, *port)).collect();
        let seen = transcript.iter().find(|seen| seen.0 == number).ok_or("an attempt has no result")?.1;
        let heard: Vec<&Hit> = hits.iter().filter(|hit| hit.carries(&mark(nonce, number))).collect();
        let what = format!("{} to {:?} port {port}", protocol.word(), target.0);
        let strange = heard.iter().find(|hit| !is_at(hit, &at));
        if let Some(hit) = strange {
            return Err(format!("{what}: heard at {}, and the policy allows {at:?}", hit.local));
        }
        let late = [Errno::ETIMEDOUT, Errno::EAGAIN].contains(&Errno::from_raw(seen.into()));
        match (at.is_empty(), seen) {
            (true, 0) => return Err(format!("{what}: the policy denies it, and it succeeded")),
            (true, _) if late => return Err(format!("{what}: denied, and not at once")),
            (false, errno) if errno != 0 => {
                return Err(format!("{what}: the policy allows it, the sandbox said errno {errno}"));
            }
            (false, _) if heard.is_empty() => return Err(format!("{what}: succeeded, and nobody heard it")),
            _ => {}
        }
        open.extend(at);
    }
    // Connections that said nothing, too. What the gateway asks a resolver is a datagram to port 53.
    let asks =
        |hit: &Hit| hit.proto == Proto::Udp && matches!(&hit.local, Endpoint::Inet(to) if to.port() == 53);
    match hits.iter().find(|hit| !asks(hit) && !is_at(hit, &open)) {
        Some(hit) => Err(format!("something came to {}, which no attempt may reach", hit.local)),
        None => Ok(()),
    }
}

fn is_at(hit: &Hit, places: &[SocketAddr]) -> bool {
    matches!(&hit.local, Endpoint::Inet(local) if places.contains(local))
}

/// The error number of each attempt.
fn run(
    lab: &Lab,
    policy: &str,
    mut script: Script,
    defect: Defect,
    nonce: &str,
) -> Result<Vec<(usize, u16)>, String> {
    let world = lab.world();
    let runtime = world.tool("runtime").ok_or("the lab has no runtime")?;
    let file = world.base.join("tools/random.yaml");
    fs::write(&file, policy).map_err(|error| format!("write {}: {error}", file.display()))?;
    let control_number = script.statements().len();
    script.push(control!("loopback_tcp"));
    let start = |words: &[&str], file: &Path| {
        let mut command = Command::new(runtime);
        command.args(words).arg(file).current_dir(&world.work.dir).env_clear();
        command.env("PATH", &world.caller_path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let limit = Duration::from_secs(60);
    let mut command = match defect {
        Defect::None => start(&["run", "--policy"], &file),
        Defect::PortsIgnored => {
            let mut plan = start(&["plan", "--format", "json", "--policy"], &file);
            let raw = process::run(lab, &mut plan, None, None, limit);
            let broken = world.base.join("tools/broken.json");
            fs::write(&broken, without_ports(&raw.stdout)?)
                .map_err(|error| format!("write {}: {error}", broken.display()))?;
            start(&["run", "--plan"], &broken)
        }
    };
    command.arg("--").arg(&world.work.probe);
    command.args(script.argv(nonce).map_err(|error| error.to_string())?);
    let raw = process::run(lab, &mut command, None, None, limit);
    let transcript = parse_output(&raw.stdout, nonce);
    let control = transcript.observed(control_number);
    if transcript.done && control.is_some_and(|control| control.errno == 0) {
        return Ok(transcript.observations.iter().map(|seen| (seen.index, seen.errno)).collect());
    }
    Err(format!("the sandbox did not run: {:?}: {}", raw.end, String::from_utf8_lossy(&raw.stderr)))
}

/// A plan whose gateway does not look at ports.
fn without_ports(plan: &[u8]) -> Result<String, String> {
    let mut plan: serde_json::Value = serde_json::from_slice(plan).map_err(|error| error.to_string())?;
    let steps =
        plan.get_mut("steps").and_then(serde_json::Value::as_array_mut).ok_or("a plan without steps")?;
    for egress in steps.iter_mut().filter_map(|step| step.pointer_mut("/step/serve_egress/mutant")) {
        *egress = "ports-ignored".into();
    }
    Ok(plan.to_string())
}
