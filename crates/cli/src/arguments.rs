//! The command line, one place for every flag.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::{NonEmptyStringValueParser, PathBufValueParser, TypedValueParser as _};
use clap::{Args, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use palisade_conformance::known::Day;
use palisade_conformance::matrix::Form;
use palisade_conformance::verify::{Output, Shard};

/// Run an untrusted command under a declared policy, and prove that the policy holds.
#[derive(Debug, Parser)]
#[command(name = "palisade", version, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

impl Arguments {
    /// As [`Parser::try_parse_from`].
    pub(crate) fn parse_words(words: &[OsString]) -> Result<Self, clap::Error> {
        // `run` is what is started most, and need not wait until flags are described that it does not have, or all other verbs.
        // Whatever is not right with it, or asks for help, is answered with all that there is.
        if let Some(run) = Run::plain(words) {
            return Ok(Self { verb: Verb::Run(run) });
        }
        if let [_, verb, ..] = words
            && verb == "run"
            && let Ok(found) = Run::augment_args(clap::Command::new("run")).try_get_matches_from(&words[1..])
            && let Ok(run) = Run::from_arg_matches(&found)
        {
            return Ok(Self { verb: Verb::Run(run) });
        }
        Self::try_parse_from(words)
    }
}

impl Run {
    /// A run with no flag but `--policy`, as it wraps each call of a tool: the same as [`Parser::try_parse_from`].
    fn plain(words: &[OsString]) -> Option<Self> {
        let (policy, command) = match words {
            [_, verb, dashes, command @ ..] if verb == "run" && dashes == "--" => (None, command),
            [_, verb, flag, policy, dashes, command @ ..]
                if verb == "run" && flag == "--policy" && dashes == "--" && is_plain_value(policy) =>
            {
                (Some(policy.clone()), command)
            }
            _ => return None,
        };
        let policy = PolicyFlags { policy, ..PolicyFlags::default() };
        Some(Self { policy, command: command.to_vec(), ..Self::default() })
    }
}

/// Whether nobody could take it for a flag, or for none.
fn is_plain_value(word: &OsStr) -> bool {
    word.as_encoded_bytes().first().is_some_and(|first| *first != b'-')
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a command in a sandbox
    #[command(
        after_help = "EXIT STATUS:\n  the command's own; 128+n for signal n; 124 wall-time limit; 125 palisade itself \
                            (policy, refusal, set-up); 126 not executable; 127 not found"
    )]
    Run(Run),
    /// Run one more command in a sandbox that was started with `run --name`
    #[command(after_help = "EXIT STATUS: as that of `run`; 137 when the sandbox ended first")]
    Exec(Exec),
    /// List the sandboxes that were started with `run --name`
    Ps(Ps),
    /// End a sandbox that was started with `run --name`: SIGTERM, and two seconds later a kill
    Stop(Stop),
    /// Print what `run` would do, step by step, and what each clause of the policy gets on this host
    Plan(Plan),
    /// Probe a sandbox and compare what is observed with what the policy declares
    #[command(
        after_help = "EXIT STATUS:\n  0 all held; 1 breached or over-blocked; 2 usage or policy error; 3 inconclusive or \
                            nothing selected"
    )]
    Verify(Verify),
    /// Put reports of many runtimes, or of many hosts, into one table
    #[command(
        after_help = "EXIT STATUS:\n  0 done; 1 with --against, something fails that did not fail before; 2 usage error"
    )]
    Matrix(Matrix),
    /// Explain what `verify` tries
    Probes(Probes),
    /// Tell what can be told of the sandbox, container or shell that this runs in
    #[command(
        after_help = "EXIT STATUS:\n  0 nothing of severity high or critical is open; 1 something is; 2 usage error; 3 nothing could be \
                            told"
    )]
    Probe(Probe),
    /// Print what this host can enforce, or what a policy would get here
    #[command(
        after_help = "EXIT STATUS:\n  0 without --policy, or the policy would be enforced; 1 only in part; 2 usage or policy error; 3 it would \
                            be refused"
    )]
    Host(Host),
    /// Check a policy file
    Policy(Check),
}

/// The policy, and the flags that narrow it.
#[derive(Args, Debug, Default)]
pub(crate) struct PolicyFlags {
    /// A policy file, or the name of a built-in policy (default, agent)
    #[arg(long, value_name = "FILE|NAME")]
    pub(crate) policy: Option<OsString>,
    #[command(flatten)]
    pub(crate) carry: Carry,
    #[command(flatten)]
    pub(crate) narrow: Narrow,
}

/// Flags that say by which means what the policy allows is carried. None of them allows anything.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Carry the network")]
pub(crate) struct Carry {
    /// Carry what the policy allows by this means: gateway, pasta, slirp4netns, veth or macvlan
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<String>,
    /// Put the interface of `macvlan` here: `PARENT,ADDRESS=ROUTER`, or with one pair for each family
    #[arg(long, value_name = "PARENT,ADDRESS=ROUTER", requires = "backend")]
    pub(crate) link: Option<String>,
}

/// Flags that narrow the policy. None of them can widen it.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Narrow the policy")]
pub(crate) struct Narrow {
    /// Close the network
    #[arg(long, value_name = "none")]
    pub(crate) network: Option<NoNetwork>,
    /// Lower the memory limit
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Lower the number of processes
    #[arg(long, value_name = "N")]
    pub(crate) processes: Option<u32>,
    /// Lower the wall-time limit
    #[arg(long, value_name = "DURATION")]
    pub(crate) wall_time: Option<String>,
    /// Lower the processor-time limit
    #[arg(long, value_name = "DURATION")]
    pub(crate) cpu_time: Option<String>,
    /// Lower the number of open files
    #[arg(long, value_name = "N")]
    pub(crate) open_files: Option<u32>,
    /// Lower the size of a file
    #[arg(long, value_name = "SIZE")]
    pub(crate) file_size: Option<String>,
    /// Lower the number of bytes of output
    #[arg(long, value_name = "SIZE")]
    pub(crate) output: Option<String>,
    /// Lower the size of /tmp
    #[arg(long, value_name = "SIZE")]
    pub(crate) tmp: Option<String>,
    /// Keep changes in a private layer over the read-write paths, or in a private copy of them
    #[arg(long, value_enum)]
    pub(crate) workspace: Option<PrivateWorkspace>,
    /// Lower the size of that layer or copy
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk: Option<String>,
    /// Make a path of the policy read-only
    #[arg(long, value_name = "PATH")]
    pub(crate) read_only: Vec<PathBuf>,
    /// Hide a path
    #[arg(long, value_name = "PATH")]
    pub(crate) hide: Vec<PathBuf>,
    /// Do not pass an environment variable
    #[arg(long, value_name = "NAME")]
    pub(crate) unset: Vec<String>,
}

/// The workspaces that a flag can ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    Smoke,
    #[default]
    Standard,
    Soak,
    Destructive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrivateWorkspace {
    Overlay,
    Copy,
}

/// The only network that a flag can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NoNetwork {
    None,
}

#[derive(Args, Debug, Default)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) policy: PolicyFlags,
    /// Execute a plan as `palisade plan --format json` printed it, instead of deciding one. Nothing is claimed about it
    #[arg(long, value_name = "FILE", conflicts_with = "policy")]
    pub(crate) plan: Option<PathBuf>,
    /// Export what the workload changed in a private workspace: into this new directory, or (`-`) as a list on standard output
    #[arg(long, value_name = "DIR|-")]
    pub(crate) changes: Option<PathBuf>,
    /// Write what the workload changed in a private workspace back to the real directories, when it has ended
    #[arg(long)]
    pub(crate) apply: bool,
    /// Write a report in JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Put the output into the report, besides passing it on
    #[arg(long, requires = "report")]
    pub(crate) capture: bool,
    /// Write what happens to this descriptor, one JSON object a line
    #[arg(long, value_name = "FD")]
    pub(crate) json_events: Option<i32>,
    /// Name the sandbox, so that `exec`, `ps` and `stop` can find it
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct Exec {
    /// The name of the sandbox
    pub(crate) name: String,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct Ps {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct Stop {
    /// The name of the sandbox
    pub(crate) name: String,
}

#[derive(Args, Debug)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) policy: PolicyFlags,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct Probes {
    #[command(subcommand)]
    pub(crate) verb: ProbesVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProbesVerb {
    /// List the probes that apply to a policy, those that run only when selected too
    List {
        /// A policy file, or the name of a built-in policy (default, agent)
        #[arg(long, value_name = "FILE|NAME")]
        policy: Option<OsString>,
        /// Probes of your own: a file in YAML, or a directory of files *.yaml
        #[arg(long, value_name = "FILE|DIR")]
        probes: Vec<PathBuf>,
        /// Only probes whose id matches, or one of several patterns with commas between them
        #[arg(long, value_name = "GLOB,...")]
        only: Option<String>,
        /// How to print it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Explain one: what it tries, why, what must be seen, and what shows that the refusal is the sandbox's
    Show {
        /// The probe
        id: String,
        /// A policy file, or the name of a built-in policy (default, agent)
        #[arg(long, value_name = "FILE|NAME")]
        policy: Option<OsString>,
        /// Probes of your own: a file in YAML, or a directory of files *.yaml
        #[arg(long, value_name = "FILE|DIR")]
        probes: Vec<PathBuf>,
        /// How to print it
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Probe {
    /// Look around here, by what cannot act: no policy, no lab, nothing sent. Weaker evidence than that of verify
    #[arg(long, required_unless_present = "extract", conflicts_with = "extract")]
    pub(crate) inside: bool,
    /// Write the bare probe program here, an executable that needs no library: for where this one does not start
    #[arg(long, value_name = "FILE")]
    pub(crate) extract: Option<PathBuf>,
    /// Probes of your own as for verify, such of them as cannot act: a file in YAML, or a directory of files *.yaml
    #[arg(long, value_name = "FILE|DIR", requires = "inside")]
    pub(crate) probes: Vec<PathBuf>,
    /// Only what has an id that matches
    #[arg(long, value_name = "GLOB", requires = "inside")]
    pub(crate) only: Option<String>,
    /// Print JSON
    #[arg(long, requires = "inside")]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Host {
    /// Tell of a policy instead, clause by clause, what it would get here: a file, or the name of a built-in policy
    #[arg(long, value_name = "FILE|NAME")]
    pub(crate) policy: Option<OsString>,
    #[command(flatten)]
    pub(crate) carry: Carry,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: HostFormat,
}

/// The forms of what a host can enforce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum HostFormat {
    #[default]
    Text,
    Json,
    /// Markdown
    Md,
    /// One page without scripts or anything from the network
    Html,
}

#[derive(Args, Debug)]
pub(crate) struct Check {
    #[command(subcommand)]
    pub(crate) verb: CheckVerb,
}

#[derive(Args, Debug)]
pub(crate) struct Matrix {
    /// What `verify --out FILE.json`, `host --format json` or `matrix --format json` wrote. The name of a file up to its first dot
    /// names the host that it is about
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// What the columns are
    #[arg(long, value_enum, default_value_t)]
    pub(crate) by: By,
    /// Tell what has changed since these were written; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Vec<PathBuf>,
    /// How to print the matrix
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Page,
    /// Write the matrix to a file too, in the form that its extension says: .txt, .json, .md or .html; may be given several times
    #[arg(long, value_name = "FILE", value_parser = PathBufValueParser::new().try_map(crate::matrix::file))]
    pub(crate) out: Vec<(PathBuf, Form)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    #[default]
    Runtime,
    Host,
}

/// The form of something that is read in a browser or in a repository, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Page {
    #[default]
    Text,
    Json,
    Md,
    Html,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CheckVerb {
    /// Report everything that is wrong with a policy file, all at once
    Check {
        /// A policy file, or the name of a built-in policy
        policy: OsString,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// A policy file, or the name of a built-in policy (default, agent)
    #[arg(long, value_name = "FILE|NAME")]
    pub(crate) policy: Option<OsString>,
    /// The sandbox to probe, by the name of its adapter: palisade, bubblewrap and others; `none` is the unsandboxed control. Or a file
    /// that describes how one of your own is started. Several, or `all`, one after the other, with a matrix of all of them at the end,
    /// to which --format and --out apply
    #[arg(long, value_name = "NAME|FILE.yaml", value_delimiter = ',', default_value = "palisade")]
    pub(crate) runtime: Vec<String>,
    /// With several runtimes: keep the report of each here, as NAME.json and NAME.html
    #[arg(long, value_name = "DIR")]
    pub(crate) evidence: Option<PathBuf>,
    /// How the workload comes in: as what the sandbox is started for, added to one that runs already, or on a terminal
    #[arg(long, value_enum, default_value_t)]
    pub(crate) entry: Entry,
    /// Carry what the policy allows by this means: gateway, pasta, slirp4netns, veth or macvlan; several, or `all`, one after
    /// the other
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) backend: Vec<String>,
    /// Probes of your own besides those of the catalogue: a file in YAML, or a directory of files *.yaml; may be given several times
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) probes: Vec<PathBuf>,
    /// Only probes whose id matches, or one of several patterns with commas between them
    #[arg(long, value_name = "GLOB,...")]
    pub(crate) only: Option<String>,
    /// Only probes of this clause of the policy: `filesystem.hidden`, or `filesystem.hidden[2]` for one of its entries
    #[arg(long, value_name = "CLAUSE")]
    pub(crate) clause: Option<String>,
    /// How much of the catalogue: a few seconds' worth, all but what is slow, what is slow too, or what may weigh on the machine (limits of
    /// hundreds of MiB or of processes, run into, each alone). With --only, what matches of it, slow or not
    #[arg(long, value_enum, default_value_t)]
    pub(crate) tier: Tier,
    /// Only part I of N of these probes. The parts are disjoint, together they are the whole, and a probe is always in the same
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Compare with an earlier report, written with `--format json`: only what it does not have counts for the exit status
    #[arg(long, value_name = "OLD.json", conflicts_with_all = ["list", "mutants"])]
    pub(crate) against: Option<PathBuf>,
    /// The deviations that are known, in a file of the form of conformance/known, instead of the program's own list
    #[arg(long, value_name = "FILE", conflicts_with_all = ["list", "mutants"])]
    pub(crate) known: Option<PathBuf>,
    /// Add what is over-blocked or inconclusive to a file of known deviations, which holds for this run too. Nothing is added
    /// while a probe is breached
    #[arg(long, value_name = "FILE", conflicts_with_all = ["list", "mutants", "known"])]
    #[arg(requires_all = ["reason", "issue", "owner", "expires"])]
    pub(crate) update_known: Option<PathBuf>,
    /// With --update-known: what happens instead, and why that is accepted
    #[arg(long, value_name = "TEXT", requires = "update_known", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) reason: Option<String>,
    /// With --update-known: where it is tracked
    #[arg(long, value_name = "URL", requires = "update_known", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) issue: Option<String>,
    /// With --update-known: who answers for it
    #[arg(long, value_name = "NAME", requires = "update_known", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) owner: Option<String>,
    /// With --update-known: the last day on which it is accepted
    #[arg(long, value_name = "YYYY-MM-DD", requires = "update_known")]
    pub(crate) expires: Option<Day>,
    /// How to print the report
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Write the report to a file too, in the form that its extension says: .json, .xml (JUnit), .sarif, .html, .md (Markdown for a job summary),
    /// .tap (TAP 14) or .txt; may be given several times
    #[arg(long, value_name = "FILE", value_parser = PathBufValueParser::new().try_map(Output::at))]
    #[arg(conflicts_with_all = ["list", "mutants"])]
    pub(crate) out: Vec<Output>,
    /// List the probes, or with --mutants the mutants and where each bug was, and run nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// Run each probe this often; any breach counts
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) repeat: u32,
    /// Tell of everything that is held which layer of the sandbox holds it: it runs again under each layer alone, and under all
    /// but one
    #[arg(long, conflicts_with_all = ["list", "mutants"])]
    pub(crate) layers: bool,
    /// Run so many probes side by side, at most 64; without it, two for each processor. The verdicts are the same
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) jobs: Option<u8>,
    /// Break the sandbox's own plan, one step at a time, and see that the probes notice: each mutant until the first
    /// probe does (quick), one of each kind of mutant (sample), every probe against every mutant (full), or each probe
    /// until it notices one (probes)
    #[arg(long, value_name = "quick|sample|full|probes", num_args = 0..=1, require_equals = true, default_missing_value = "quick")]
    #[arg(conflicts_with_all = ["repeat", "shard"])]
    pub(crate) mutants: Option<Mutants>,
    /// Only mutants whose name matches
    #[arg(long, value_name = "GLOB", requires = "mutants")]
    pub(crate) mutant: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Entry {
    #[default]
    Run,
    Exec,
    Pty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mutants {
    Quick,
    Sample,
    Full,
    Probes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_run_is_what_the_parser_makes_of_it() {
        let lines = [
            "run -- true",
            "run --",
            "run -- sh -c --policy --",
            "run -- --",
            "run --policy agent -- true",
            "run --policy p.yaml -- sh -c true --policy x",
            "run --policy p.yaml --",
        ];
        for line in lines {
            let words: Vec<OsString> =
                ["palisade"].into_iter().chain(line.split(' ')).map(Into::into).collect();
            let plain = Run::plain(&words).expect("it is plain");
            let Verb::Run(parsed) = Arguments::try_parse_from(&words).expect("it is right").verb else {
                panic!("no run: {line}")
            };
            assert_eq!(format!("{plain:?}"), format!("{parsed:?}"), "{line}");
        }
        let others = [
            "run",
            "run true",
            "run --policy -- true",
            "run --policy --plan -- true",
            "run --policy=p -- true",
            "run --help -- true",
            "exec -- true",
            "run --policy p --policy q -- true",
            "run --policy  -- true",
        ];
        for line in others {
            let words: Vec<OsString> =
                ["palisade"].into_iter().chain(line.split(' ')).map(Into::into).collect();
            assert!(Run::plain(&words).is_none(), "{line}");
        }
    }
}
