//! Reading hostile output.

use palisade_probe::script::{Ended, Phase, parse_output};
use proptest::prelude::*;

#[test]
fn only_the_exact_nonce_counts() {
    let output = b"PALISADE other ATTEMPT 0 a\nPALISADE other OBSERVED 0 a ret=0 errno=0 data=-\n\
        PALISADE n1 ATTEMPT 0 a\nPALISADE N ATTEMPT 1 a\nPALISADE n ATTEMPT 2 a\nPALISADE n DONE\n";
    let transcript = parse_output(output, "n");
    assert_eq!(transcript.attempted.into_iter().collect::<Vec<_>>(), [2]);
    assert!(transcript.observations.is_empty() && transcript.done && transcript.anomalies.is_empty());
}

#[test]
fn garbage_around_lines_is_ignored() {
    let output = b"\xff\xfe\0\nnoise PALISADE n ATTEMPT 7 c\r\nmore\x1b[2J\n\
        no newline PALISADE n OBSERVED 7 c ret=-1 errno=13 data=00ff\r\nPALISADE n ENDED a signal=11";
    let transcript = parse_output(output, "n");
    let observed = transcript.observed(7).expect("observed");
    assert_eq!((observed.phase, observed.ret, observed.errno), (Phase::Control, -1, 13));
    assert_eq!(observed.data, [0, 255]);
    assert_eq!(transcript.ended, Some(Ended::Signal(11)));
    assert!(!transcript.done);
    assert!(transcript.anomalies.is_empty());
}

#[test]
fn the_first_observation_counts_and_the_second_is_reported() {
    let output = b"PALISADE n ATTEMPT 0 a\nPALISADE n OBSERVED 0 a ret=5 errno=0 data=-\n\
        PALISADE n OBSERVED 0 a ret=-1 errno=1 data=-\nPALISADE n DONE\nPALISADE n DONE\n";
    let transcript = parse_output(output, "n");
    assert_eq!(transcript.observed(0).map(|observed| observed.ret), Some(5));
    assert_eq!(transcript.anomalies, ["OBSERVED 0 a ret=-1 errno=1 data=-", "DONE"]);
}

#[test]
fn malformed_lines_with_the_nonce_are_anomalies() {
    let lines = [
        "OBSERVED 0 a ret=0 errno=0 data=-",
        "ATTEMPT x a",
        "ATTEMPT +1 a",
        "ATTEMPT 1 b",
        "ATTEMPT 1 aa",
        "ATTEMPT 1",
        "ENDED a exit=256",
        "ENDED s exit=0",
        "DONE now",
        "",
        "OBSERVED 9 a ret=0 errno=0 data=0",
        "OBSERVED 9 a ret=0 errno=0 data=",
        "OBSERVED 9 a ret=0 errno=0 data=zz",
        "OBSERVED 9 a ret=0 errno=70000 data=-",
        "OBSERVED 9 a ret=3 errno=1 data=-",
    ];
    let mut output = b"PALISADE n ATTEMPT 9 a\n".to_vec();
    for line in lines {
        output.extend_from_slice(format!("PALISADE n {line}\n").as_bytes());
    }
    let transcript = parse_output(&output, "n");
    assert_eq!(transcript.anomalies, lines);
    assert!(transcript.observations.is_empty() && transcript.ended.is_none() && !transcript.done);
}

#[test]
fn a_missing_child_is_told_apart() {
    let transcript = parse_output(b"PALISADE n ENDED a nofork=38\n", "n");
    assert_eq!(transcript.ended, Some(Ended::NoFork(38)));
}

proptest! {
    #[test]
    fn reading_never_panics(output in prop::collection::vec(any::<u8>(), 0..400), nonce in "[a-z0-9]{1,8}") {
        let _ = parse_output(&output, &nonce);
        let mut forged = format!("PALISADE {nonce} ").into_bytes();
        forged.extend_from_slice(&output);
        let _ = parse_output(&forged, &nonce);
    }
}
