//! The environment that the process was started with, read from the initial stack.

use crate::call::Call;
use crate::kernel::Answer;
use crate::stream::holds;

pub(super) fn environ(call: &mut Call<'_>) -> Answer {
    let names_only = call.says(0, b"names");
    let mut count = 0;
    for entry in call.environment {
        count += 1;
        call.data.push_item(b"\n", if names_only { name_of(entry) } else { entry });
    }
    Ok(count)
}

pub(super) fn env_has(call: &mut Call<'_>) -> Answer {
    let name = call.text(0)?;
    for entry in call.environment {
        if name_of(entry) == name.bytes() {
            call.data.push(entry.get(name.bytes().len() + 1..).unwrap_or(b""));
            return Ok(1);
        }
    }
    Ok(0)
}

pub(super) fn find_in_environ(call: &mut Call<'_>) -> Answer {
    let needle = call.text(0)?;
    let mut found = 0;
    for entry in call.environment {
        if holds(entry, needle.bytes()) {
            found = 1;
            call.data.push_item(b"\n", name_of(entry));
        }
    }
    Ok(found)
}

fn name_of(entry: &[u8]) -> &[u8] {
    entry.split(|byte| *byte == b'=').next().unwrap_or(entry)
}
