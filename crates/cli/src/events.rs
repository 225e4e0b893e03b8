//! `run --json-events FD`: what happens, for a supervisor in any language, one JSON object a line.

use std::fs::File;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use palisade::{Event, NetworkDenialReport};
use serde_json::{Value, json};

use crate::message;
use crate::source::Told;

/// Where events are written.
pub(crate) struct Events(File);

impl Events {
    /// To a descriptor that this process was started with.
    pub(crate) fn to(descriptor: i32) -> Result<Self, Told> {
        match palisade::inherited_descriptor(descriptor) {
            Ok(descriptor) => Ok(Self(descriptor.into())),
            Err(error) => {
                message::error(format!("--json-events {descriptor}: {error}"), None);
                Err(Told)
            }
        }
    }

    /// Writes an event. A reader that has gone is no reason to end a run.
    pub(crate) fn tell(&mut self, event: &Event) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = object(event);
        line["time"] = json!(since.as_secs_f64());
        let _ = self.0.write_all(format!("{line}\n").as_bytes());
    }
}

fn object(event: &Event) -> Value {
    match event {
        Event::Checkpoint { step, pid } => json!({"event": "checkpoint", "step": step, "pid": pid}),
        Event::Started { pid } => json!({"event": "started", "pid": pid}),
        Event::LimitHit { clause } => json!({"event": "limit_hit", "clause": clause.as_str()}),
        Event::DestinationDenied { denied } => {
            json!({"event": "destination_denied", "denied": NetworkDenialReport::from(denied)})
        }
        Event::NetworkEnded { message } => json!({"event": "network_ended", "message": message}),
        Event::Denied { call } => json!({"event": "denied", "call": call}),
        Event::Ended { exit_code } => json!({"event": "ended", "exit_code": exit_code}),
    }
}
