//! What a probe of a file runs.
//!
//! A command is run by the probe program too: it executes the control first and then the attempt, in the same instance of the
//! sandbox, and its announcements carry the nonce.

use nix::errno::Errno;
use palisade_policy::syscalls;
use palisade_probe::script::{Arg, Phase, Script, Statement};
use palisade_probe::setup;
use serde_saphyr::Spanned;

use super::Wrong;
use super::form::Form;
use crate::catalogue::{Class, Expect};
use crate::observation::Seen;

/// Most arguments after the program (the probe's operation `exec`).
const MOST_ARGUMENTS: usize = 8;

/// Calls that act on the machine as a whole, which no namespace of the lab holds. The catalogue has them all, with operands that
/// cannot act.
const OF_THE_MACHINE: &[&str] = &[
    "acct",
    "adjtimex",
    "clock_adjtime",
    "clock_settime",
    "delete_module",
    "finit_module",
    "init_module",
    "kexec_file_load",
    "kexec_load",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
];

/// Where what is written changes the machine, and no file of the lab.
const SETTINGS: &[&str] = &["/proc/sys", "/sys"];

/// What the probe program is to do, so that `expect` can be judged.
pub(super) fn script(form: &Form, expect: &Expect) -> Result<Script, Wrong> {
    if form.class == Class::Denied && form.control.is_empty() {
        let wrong = Wrong::at(&form.id, "no control: where everything is refused, this probe would be held");
        return Err(
            wrong.hint("`control` is what must work in the same sandbox, as near to the attempt as can be")
        );
    }
    let script = Script::from(match (&form.script, &form.argv) {
        (Some(script), None) => script_of(form, script)?,
        (None, Some(argv)) => commands_of(form, argv, expect)?,
        (Some(_), Some(_)) => return Err(Wrong::at(&form.id, "`script` and `argv` in one probe")),
        (None, None) => {
            let wrong = Wrong::at(&form.id, "nothing is attempted");
            return Err(wrong.hint("`script` lists statements of the probe program, `argv` is a command"));
        }
    });
    script.check().map_err(|error| Wrong::at(&form.id, error.to_string()))?;
    Ok(script)
}

/// Set-up, controls and attempts, numbered in this order.
fn script_of(form: &Form, script: &[Spanned<String>]) -> Result<Vec<Statement>, Wrong> {
    if script.is_empty() {
        return Err(Wrong::at(&form.id, "the script is empty"));
    }
    let phases =
        [(Phase::Setup, form.setup.as_slice()), (Phase::Control, &form.control), (Phase::Attempt, script)];
    let all = phases.iter().flat_map(|(phase, texts)| texts.iter().map(|text| (*phase, text)));
    all.map(|(phase, text)| statement(phase, text)).collect()
}

fn statement(phase: Phase, text: &Spanned<String>) -> Result<Statement, Wrong> {
    let hint = "`OPERATION OPERAND...`, as CONTRIBUTING.md tells: read_file /etc/passwd; sys mount bad bad bad 0 bad";
    let numbered = numbered(&text.value);
    let statement =
        Statement::parse(phase, &numbered).map_err(|error| Wrong::at(text, error.to_string()).hint(hint))?;
    harmless(&statement).map_err(|why| {
        let hint = "it would be done without a sandbox too, perhaps by root; the catalogue tries it with operands \
                    that cannot act";
        Wrong::at(text, why).hint(hint)
    })?;
    Ok(statement)
}

/// A call of `sys` by its number, where it is written by its name.
pub(crate) fn numbered(text: &str) -> String {
    let mut words = text.split_whitespace();
    match (words.next(), words.next().and_then(syscalls::number)) {
        (Some("sys"), Some(number)) => {
            let rest = words.map(|word| format!(" {word}")).collect::<String>();
            format!("sys {number}{rest}")
        }
        _ => text.to_owned(),
    }
}

/// Refuses what would act on the machine outside of the lab.
fn harmless(statement: &Statement) -> Result<(), String> {
    let path = |arg: Option<&Arg>| arg.map(|arg| arg.to_string().trim_start_matches('@').to_owned());
    match (statement.operation(), statement.args().first()) {
        ("sys", Some(Arg::Int(number))) => {
            // With bit 30 the number is one of the x32 table, whose common part is the same.
            let name = u32::try_from(number & !0x4000_0000).ok().and_then(syscalls::name);
            match name.filter(|name| OF_THE_MACHINE.contains(name)) {
                Some(name) => Err(format!("{name}(2) acts on the whole machine")),
                None => Ok(()),
            }
        }
        ("sys", Some(Arg::Uint(_) | Arg::Result(_))) | ("sys32", _) => {
            Err(format!("{}: which call it is cannot be told", statement.operation()))
        }
        ("write_file" | "append", first) => {
            let path = path(first).unwrap_or_default();
            let setting = SETTINGS.iter().any(|setting| path.starts_with(setting));
            if setting { Err(format!("{path} is a setting of the whole machine")) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

fn commands_of(form: &Form, argv: &[Spanned<String>], expect: &Expect) -> Result<Vec<Statement>, Wrong> {
    if let Some(setup) = form.setup.first() {
        let wrong = Wrong::at(setup, "set-up is of scripts");
        return Err(wrong.hint("`plant` puts files into the working directory"));
    }
    let attempt = command(Phase::Attempt, "exec", argv, &form.id)?;
    let mut statements = Vec::new();
    // That a command is not there is no refusal, unless this is what must be seen.
    if let (Some(program), false) = (argv.first(), expect.contains(&Seen::failed(Errno::ENOENT))) {
        statements.push(setup!("stat_mode", program.value.as_str()));
    }
    if !form.control.is_empty() {
        statements.push(command(Phase::Control, "exec_ok", &form.control, &form.id)?);
    }
    statements.push(attempt);
    Ok(statements)
}

fn command(
    phase: Phase,
    operation: &str,
    argv: &[Spanned<String>],
    id: &Spanned<String>,
) -> Result<Statement, Wrong> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Wrong::at(id, "an empty command"));
    };
    if !program.value.starts_with('/') {
        let wrong = Wrong::at(program, format!("{:?} is no absolute path", program.value));
        return Err(wrong.hint("nothing is searched for, so that it is the same program everywhere"));
    }
    if arguments.len() > MOST_ARGUMENTS {
        let wrong = Wrong::at(program, format!("more than {MOST_ARGUMENTS} arguments"));
        return Err(wrong.hint("[/bin/sh, -c, \"...\"] takes any number"));
    }
    if let Some(word) = argv.iter().find(|word| word.value.contains('\0') || word.value.len() > 4000) {
        return Err(Wrong::at(word, "an argument holds a NUL, or more than 4000 bytes"));
    }
    let words = argv.iter().map(|word| Arg::from(word.value.as_str()));
    Ok(words.fold(Statement::new(phase, operation), Statement::arg))
}
