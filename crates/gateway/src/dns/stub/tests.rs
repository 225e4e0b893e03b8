use std::time::Duration;

use palisade_policy::{AllowRule, Clause, Network, NetworkMode, Peer, Ports, Protocol};
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::dns::message::query;

fn judge() -> Judge {
    let rule = |pattern: &str| AllowRule {
        clause: Clause::new("network.allow[0]"),
        peer: Peer::Host(pattern.to_owned()),
        ports: Ports::Any,
        protocol: Protocol::Tcp,
    };
    let allow = vec![rule("a.example"), rule("**.b.example")];
    Judge::new(Network { mode: NetworkMode::Allowlist, allow, ..Network::default() }, Vec::new(), None)
}

fn names() -> Names {
    Names::new(8, Duration::from_secs(60))
}

fn asked(name: &str, kind: u16, class: u16) -> Vec<u8> {
    query(9, &Question { name: Name::from_text(name).unwrap(), kind, class })
}

/// The code, and the data of each record that is no option.
fn read(message: &[u8]) -> (u16, Vec<(u16, Vec<u8>)>) {
    let (header, mut reader) = Reader::new(message).unwrap();
    assert!(header.is_response() && header.id == 9 && message.len() <= 512);
    for _ in 0..header.questions {
        reader.question().unwrap();
    }
    let mut records = Vec::new();
    for _ in 0..header.answers {
        let record = reader.record().unwrap();
        assert!(record.ttl <= TTL && record.class == IN);
        records.push((record.kind, record.data.to_vec()));
    }
    for _ in 0..header.authorities + header.additional {
        reader.record().unwrap();
    }
    assert!(reader.record().is_none());
    (header.code(), records)
}

fn ask(message: &[u8], names: &mut Names) -> (u16, Vec<(u16, Vec<u8>)>, Note) {
    let (message, note) = answer(message, &judge(), names, Instant::now()).expect("an answer");
    let (code, records) = read(&message);
    (code, records, note)
}

#[rstest]
#[case("a.example", A, vec![(A, vec![198, 18, 1, 0])])]
#[case("A.EXAMPLE", A, vec![(A, vec![198, 18, 1, 0])])]
#[case("x.y.b.example", AAAA, vec![(AAAA, vec![0xfd, 0x70, 0x61, 0x6c, 0x69, 0x73, 0xad, 0xe0, 0, 0, 0, 0, 0, 0, 1, 0])])]
#[case("a.example", 65, vec![])] // HTTPS
#[case("a.example", 64, vec![])] // SVCB
#[case("a.example", 16, vec![])] // TXT
#[case("a.example", 15, vec![])] // MX
#[case("a.example", 6, vec![])] // SOA
#[case("a.example", 60_000, vec![])]
#[case("localhost", A, vec![(A, vec![127, 0, 0, 1])])]
#[case("x.localhost", 16, vec![])]
fn what_is_allowed(#[case] name: &str, #[case] kind: u16, #[case] data: Vec<(u16, Vec<u8>)>) {
    assert_eq!(ask(&asked(name, kind, IN), &mut names()), (NO_ERROR, data, Note::Answered));
}

#[rstest]
#[case("b.example", "b.example", Reason::NoRule)]
#[case("x.a.example", "x.a.example", Reason::NoRule)]
#[case("XA.example", "xa.example", Reason::NoRule)]
#[case(
    "metadata.google.internal",
    "metadata.google.internal",
    Reason::Metadata("the name of a metadata service")
)]
#[case("1.2.3.4", "1.2.3.4", Reason::NotAName)]
#[case("xn--a.example", "xn--a.example", Reason::NotAName)]
fn what_is_denied(#[case] name: &str, #[case] told: &str, #[case] reason: Reason) {
    for kind in [A, AAAA, 16, 65, ANY] {
        let mut names = names();
        let (code, data, note) = ask(&asked(name, kind, IN), &mut names);
        assert_eq!((code, data, names.len()), (NO_SUCH_NAME, vec![], 0));
        let Note::Denied(name, denial) = note else { panic!("{note:?}") };
        assert_eq!((name.as_str(), denial.reason), (told, reason));
    }
}

#[test]
fn a_question_for_a_type_that_is_not_there_takes_no_address() {
    let mut names = names();
    ask(&asked("a.example", 65, IN), &mut names);
    assert_eq!(names.len(), 0);
    let (_, data, _) = ask(&asked("a.example", ANY, IN), &mut names);
    assert_eq!((data.len(), names.len()), (2, 1));
}

#[test]
fn other_classes_are_refused() {
    assert_eq!(ask(&asked("a.example", A, 3), &mut names()).0, REFUSED);
    assert_eq!(ask(&asked("a.example", A, 255), &mut names()).0, REFUSED);
}

#[test]
fn too_many_names_are_a_failure() {
    let mut names = Names::new(1, Duration::from_secs(60));
    assert_eq!(ask(&asked("a.example", A, IN), &mut names).0, NO_ERROR);
    assert_eq!(ask(&asked("x.b.example", A, IN), &mut names), (SERVER_FAILURE, vec![], Note::Full));
}

#[rstest]
#[case("0.1.18.198.in-addr.arpa", true)]
#[case("0.1.18.198.IN-ADDR.ARPA", true)]
#[case("1.1.18.198.in-addr.arpa", false)]
#[case("1.0.0.127.in-addr.arpa", false)]
#[case("0.1.18.in-addr.arpa", false)]
#[case("0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.d.a.3.7.9.6.c.6.1.6.0.7.d.f.ip6.arpa", true)]
#[case("1.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.d.a.3.7.9.6.c.6.1.6.0.7.d.f.ip6.arpa", false)]
fn the_name_of_an_address(#[case] name: &str, #[case] known: bool) {
    let mut names = names();
    ask(&asked("a.example", A, IN), &mut names);
    let (code, data, _) = ask(&asked(name, PTR, IN), &mut names);
    let expected = vec![(PTR, Name::from_text("a.example").unwrap().wire().to_vec())];
    assert_eq!((code, data), if known { (NO_ERROR, expected) } else { (NO_SUCH_NAME, vec![]) });
}

fn raw(flags: u16, counts: [u16; 4], rest: &[u8]) -> Vec<u8> {
    let mut message: Vec<u8> = [9, flags].into_iter().chain(counts).flat_map(u16::to_be_bytes).collect();
    message.extend_from_slice(rest);
    message
}

const QUESTION: &[u8] = b"\x01a\x07example\x00\x00\x01\x00\x01";
const EDNS: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
const EDNS_1: &[u8] = &[0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0];
const COOKIE: &[u8] = &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];

#[rstest]
#[case(raw(0x0100, [1, 0, 0, 0], QUESTION), NO_ERROR)]
#[case(raw(0x0100, [1, 0, 0, 1], &[QUESTION, EDNS].concat()), NO_ERROR)]
#[case(raw(0x0100, [1, 0, 0, 1], &[QUESTION, COOKIE].concat()), NO_ERROR)]
#[case(raw(0x0100, [1, 0, 0, 2], &[QUESTION, EDNS, EDNS].concat()), FORMAT_ERROR)]
#[case(raw(0x0100, [1, 0, 0, 1], QUESTION), FORMAT_ERROR)]
#[case(raw(0x0100, [1, 65_535, 65_535, 65_535], QUESTION), FORMAT_ERROR)]
#[case(raw(0x0100, [1, 0, 0, 1], &[QUESTION, EDNS_1].concat()), 0)] // 16, of which the header shows four bits
#[case(raw(0x0100, [0, 0, 0, 0], &[]), FORMAT_ERROR)]
#[case(raw(0x0100, [2, 0, 0, 0], &[QUESTION, QUESTION].concat()), FORMAT_ERROR)]
#[case(raw(0x0100, [1, 0, 0, 0], &QUESTION[..5]), FORMAT_ERROR)]
#[case(raw(0x0100, [1, 0, 0, 0], &QUESTION[..QUESTION.len() - 1]), FORMAT_ERROR)]
#[case(raw(0x0100, [1, 0, 0, 0], b"\x00\x00\x02\x00\x01"), REFUSED)] // the root's servers
#[case(raw(0x2800, [1, 0, 0, 0], QUESTION), NOT_IMPLEMENTED)] // an update
#[case(raw(0x0800, [1, 0, 0, 0], QUESTION), NOT_IMPLEMENTED)] // an inverse query
fn messages(#[case] message: Vec<u8>, #[case] code: u16) {
    assert_eq!(ask(&message, &mut names()).0, code);
}

#[test]
fn a_version_of_edns_that_is_not_known() {
    let message = raw(0x0100, [1, 0, 0, 1], &[QUESTION, EDNS_1].concat());
    let (answer, _) = answer(&message, &judge(), &mut names(), Instant::now()).unwrap();
    let (header, mut reader) = Reader::new(&answer).unwrap();
    reader.question().unwrap();
    let opt = reader.record().unwrap();
    assert_eq!((header.answers, opt.kind, opt.ttl >> 24), (0, OPT, 1), "1 above the header's 0: 16");
}

#[rstest]
#[case(&[])]
#[case(&[0; 11])]
#[case(&[0, 9, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0])]
fn no_query_no_answer(#[case] message: &[u8]) {
    assert!(answer(message, &judge(), &mut names(), Instant::now()).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::tests::cases(2000)))]

    #[test]
    fn any_bytes_get_a_short_answer_or_none(
        start in prop::sample::select(vec![vec![], raw(0x0100, [1, 0, 0, 0], &[]), raw(0x0100, [1, 0, 0, 1], QUESTION)]),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut names = names();
        let message = [start, bytes].concat();
        if let Some((answer, _)) = answer(&message, &judge(), &mut names, Instant::now()) {
            prop_assert!(answer.len() <= 512);
            prop_assert_eq!(&answer[..2], &message[..2]);
            prop_assert!(Reader::new(&answer).unwrap().0.is_response());
        }
    }

    #[test]
    fn only_what_the_policy_names_gets_an_address(name in "[ab]{1,2}(\\.[abx]{1,2}){0,2}(\\.example)?") {
        let mut names = names();
        let (code, data, _) = ask(&asked(&name, A, IN), &mut names);
        let allowed = name == "a.example" || name.ends_with(".b.example");
        prop_assert_eq!((code == NO_ERROR, data.len()), (allowed, usize::from(allowed)));
    }
}
