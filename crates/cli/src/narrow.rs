//! The flags that narrow a policy, read and applied.

use std::path::Path;
use std::time::Duration;

use palisade_policy::units::parse_duration;
use palisade_policy::{ByteSize, Narrowing, NetworkMode, Policy, Workspace};

use crate::arguments::{Narrow, PrivateWorkspace};
use crate::message;
use crate::source::Told;

/// Narrows `policy` for a run that starts in `directory`. Tells the user everything that is wrong with the flags.
pub(crate) fn narrow(policy: &mut Policy, flags: &Narrow, directory: &Path) -> Result<(), Told> {
    let mut wrong = false;
    let mut size = |flag: &str, text: &Option<String>| -> Option<ByteSize> {
        let text = text.as_ref()?;
        text.parse::<ByteSize>().map_err(|refusal| tell(flag, &refusal, &mut wrong)).ok()
    };
    let (memory, file_size, output, tmp, disk) = (
        size("memory", &flags.memory),
        size("file-size", &flags.file_size),
        size("output", &flags.output),
        size("tmp", &flags.tmp),
        size("disk", &flags.disk),
    );
    let mut duration = |flag: &str, text: &Option<String>| -> Option<Duration> {
        let text = text.as_ref()?;
        parse_duration(text).map_err(|refusal| tell(flag, &refusal, &mut wrong)).ok()
    };
    let (wall_time, cpu_time) =
        (duration("wall-time", &flags.wall_time), duration("cpu-time", &flags.cpu_time));
    if wrong {
        return Err(Told);
    }
    let narrowing = Narrowing {
        network: flags.network.map(|_| NetworkMode::None),
        memory,
        processes: flags.processes,
        cpu_time,
        wall_time,
        open_files: flags.open_files,
        file_size,
        output,
        tmp,
        disk,
        workspace: flags.workspace.map(|workspace| match workspace {
            PrivateWorkspace::Overlay => Workspace::Overlay,
            PrivateWorkspace::Copy => Workspace::Copy,
        }),
        drop_environment: flags.unset.clone(),
        read_only: flags.read_only.clone(),
        hidden: flags.hide.clone(),
        ..Narrowing::default()
    };
    policy.narrow(&narrowing, directory).map_err(|refusals| {
        for refusal in refusals {
            message::error(&refusal.message, Some(&refusal.help));
        }
        Told
    })
}

fn tell(flag: &str, refusal: &palisade_policy::Refusal, wrong: &mut bool) {
    *wrong = true;
    message::error(format!("--{flag}: {}", refusal.message), Some(&refusal.help));
}
