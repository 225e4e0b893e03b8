use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn wire(name: &str) -> Vec<u8> {
    Name::from_text(name).unwrap().wire().to_vec()
}

fn question(kind: u16) -> Question {
    Question { name: Name::from_text("a.example").unwrap(), kind, class: IN }
}

/// An answer with `records`: owner, type, time to live, data.
fn message(flags: u16, records: &[(&str, u16, u32, Vec<u8>)]) -> Vec<u8> {
    let count = u16::try_from(records.len()).unwrap();
    let mut message: Vec<u8> = [3, flags, 1, count, 0, 0].into_iter().flat_map(u16::to_be_bytes).collect();
    message.extend_from_slice(&wire("A.example"));
    message.extend_from_slice(&[0, 1, 0, 1]);
    for (owner, kind, ttl, data) in records {
        message.extend_from_slice(&wire(owner));
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&IN.to_be_bytes());
        message.extend_from_slice(&ttl.to_be_bytes());
        message.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        message.extend_from_slice(data);
    }
    message
}

fn answer(records: &[(&str, u16, u32, Vec<u8>)]) -> (Vec<String>, u32) {
    match read(&message(0x8180, records), 3, &question(A)) {
        Some(Reply::Answer(answer)) => (answer.addresses.iter().map(IpAddr::to_string).collect(), answer.ttl),
        other => panic!("{other:?}"),
    }
}

#[test]
fn addresses_of_the_name_and_of_no_other() {
    let (addresses, ttl) = answer(&[
        ("other.example", A, 60, vec![6, 6, 6, 6]),
        ("a.EXAMPLE", A, 60, vec![1, 1, 1, 1]),
        ("a.example", A, 30, vec![1, 1, 1, 2]),
        ("a.example", AAAA, 10, vec![0; 16]),
    ]);
    assert_eq!((addresses, ttl), (vec!["1.1.1.1".to_owned(), "1.1.1.2".to_owned()], 30));
}

#[test]
fn aliases_are_followed() {
    let (addresses, ttl) = answer(&[
        ("c.example", A, 60, vec![1, 1, 1, 1]),
        ("b.example", CNAME, 5, wire("c.example")),
        ("a.example", CNAME, 60, wire("b.example")),
        ("b.example", A, 60, vec![6, 6, 6, 6]),
    ]);
    assert_eq!((addresses, ttl), (vec!["1.1.1.1".to_owned()], 5));
}

#[test]
fn aliases_in_a_circle_lead_nowhere() {
    let circle = [("a.example", CNAME, 5, wire("b.example")), ("b.example", CNAME, 5, wire("a.example"))];
    assert_eq!(answer(&circle).0, Vec::<String>::new());
    assert_eq!(answer(&[("a.example", CNAME, 5, wire("a.example"))]).0, Vec::<String>::new());
}

#[test]
fn a_time_to_live_that_is_none() {
    assert_eq!(answer(&[("a.example", A, 0x8000_0000, vec![1, 1, 1, 1])]).1, 0);
}

#[test]
fn the_number_of_addresses_is_bounded() {
    let record = ("a.example", A, 60, vec![1, 1, 1, 1]);
    assert_eq!(answer(&vec![record; 100]).0.len(), MAX_ADDRESSES);
}

#[rstest]
#[case(4, A, 0x8180, "another id")]
#[case(3, AAAA, 0x8180, "another question")]
#[case(3, A, 0x0180, "a query")]
fn what_is_not_the_answer_is_waited_past(
    #[case] id: u16,
    #[case] kind: u16,
    #[case] flags: u16,
    #[case] what: &str,
) {
    let message = message(flags, &[("a.example", A, 60, vec![1, 1, 1, 1])]);
    assert!(read(&message, id, &question(kind)).is_none(), "{what}");
}

#[rstest]
#[case(0x8380, "Truncated")]
#[case(0x8182, "Useless")]
#[case(0x8185, "Useless")]
#[case(0x8183, "Answer(Answer { addresses: [], ttl: 0 })")]
fn codes(#[case] flags: u16, #[case] reply: &str) {
    assert_eq!(format!("{:?}", read(&message(flags, &[]), 3, &question(A)).unwrap()), reply);
}

#[test]
fn an_address_of_a_wrong_length_spoils_the_answer() {
    let message = message(0x8180, &[("a.example", A, 60, vec![1, 1, 1])]);
    assert!(matches!(read(&message, 3, &question(A)), Some(Reply::Useless)));
    let mut short = self::message(0x8180, &[("a.example", A, 60, vec![1, 1, 1, 1])]);
    short.pop();
    assert!(matches!(read(&short, 3, &question(A)), Some(Reply::Useless)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::tests::cases(2000)))]

    #[test]
    fn no_bytes_make_it_panic(start in 0usize..64, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let good = message(0x8180, &[("a.example", CNAME, 5, wire("b.example")), ("b.example", A, 1, vec![1; 4])]);
        let message = [&good[..start.min(good.len())], &bytes].concat();
        if let Some(Reply::Answer(answer)) = read(&message, 3, &question(A)) {
            prop_assert!(answer.addresses.len() <= MAX_ADDRESSES);
        }
    }
}
