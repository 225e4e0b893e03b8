use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn question_of(message: &[u8]) -> Option<Question> {
    Reader::new(message)?.1.question()
}

fn named(name: &[u8]) -> Vec<u8> {
    [&header(1, 0, [1, 0, 0, 0])[..], name, &[0, 1, 0, 1]].concat()
}

#[test]
fn what_is_asked_is_read_back() {
    let question = Question { name: Name::from_text("a.Example").unwrap(), kind: AAAA, class: IN };
    let message = query(77, &question);
    let (header, mut reader) = Reader::new(&message).unwrap();
    assert_eq!((header.id, header.questions, header.additional, header.is_response()), (77, 1, 1, false));
    let read = reader.question().unwrap();
    assert_eq!(read, question);
    assert_eq!(read.name.text(), "a.Example");
    let opt = reader.record().unwrap();
    assert_eq!((opt.kind, opt.class, opt.data), (OPT, DATAGRAM, &[][..]));
    assert!(reader.record().is_none());
}

#[rstest]
#[case("", false)]
#[case("a..b", false)]
#[case(".a", false)]
#[case("a.", false)]
#[case("a.b", true)]
fn text_to_wire(#[case] text: &str, #[case] good: bool) {
    assert_eq!(Name::from_text(text).is_some(), good);
}

#[test]
fn lengths_of_names() {
    let label = "a".repeat(63);
    assert!(Name::from_text(&label).is_some());
    assert!(Name::from_text(&"a".repeat(64)).is_none());
    // Four labels with their lengths, and the root: 255 bytes.
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(Name::from_text(&longest).unwrap().wire().len(), 255);
    assert!(Name::from_text(&format!("{longest}a")).is_none());
    let mut wire = Name::from_text(&longest).unwrap().wire().to_vec();
    assert!(question_of(&named(&wire)).is_some());
    wire.splice(0..0, [1, b'a']);
    assert!(question_of(&named(&wire)).is_none(), "257 bytes");
}

#[rstest]
#[case(&[0xc0, 12], "to itself")]
#[case(&[0xc0, 13], "forward")]
#[case(&[0xc0, 14, 0xc0, 12], "in a circle")]
#[case(&[1, b'a', 0xc0, 12], "to the start of the name")]
#[case(&[0xff, 0xff], "far away")]
#[case(&[0x40, 1], "a kind of label that does not exist")]
#[case(&[0x80, 1], "another")]
#[case(&[5, b'a'], "beyond the end")]
fn bad_names(#[case] name: &[u8], #[case] what: &str) {
    let message = [&header(1, 0, [1, 0, 0, 0])[..], name].concat();
    assert!(question_of(&message).is_none(), "{what}");
}

#[test]
fn pointers_lead_back() {
    let mut message = named(&[1, b'a', 1, b'b', 0]);
    message.extend_from_slice(&[1, b'c', 0xc0, 14, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]);
    let mut reader = Reader::new(&message).unwrap().1;
    reader.question().unwrap();
    let record = reader.record().unwrap();
    assert_eq!((record.name.text(), record.ttl), ("c.b".to_owned(), 9));
    assert_eq!(record.target().unwrap().text(), "a.b");
}

#[test]
fn a_chain_of_pointers_has_an_end() {
    let mut message = named(&[0]);
    let mut last = 12;
    for _ in 0..MAX_POINTERS + 1 {
        let at = message.len();
        message.extend_from_slice(&(0xc000 | u16::try_from(last).unwrap()).to_be_bytes());
        last = at;
    }
    let at = |at| Reader { message: &message, at }.name();
    assert!(at(last - 2).is_some() && at(last).is_none());
}

#[rstest]
#[case(b"\x03a.b\x00", "a\\046b")]
#[case(b"\x02a\\\x00", "a\\092")]
#[case(b"\x02a\x00\x00", "a\\000")]
#[case(b"\x01\xff\x00", "\\255")]
#[case(b"\x00", "")]
fn strange_bytes_make_no_host_name(#[case] wire: &[u8], #[case] text: &str) {
    let name = question_of(&named(wire)).unwrap().name;
    assert_eq!(name.text(), text);
    assert!(palisade_policy::host::normalise_name(text).is_err());
}

#[test]
fn case_is_no_difference() {
    assert_eq!(Name::from_text("A.b"), Name::from_text("a.B"));
    assert_ne!(Name::from_text("ab"), Name::from_text("a.b"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::tests::cases(2000)))]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let Some((header, mut reader)) = Reader::new(&bytes) else { return Ok(()) };
        for _ in 0..header.questions {
            let Some(question) = reader.question() else { return Ok(()) };
            prop_assert!(question.name.wire().len() <= MAX_NAME);
            let _ = question.name.text();
        }
        while let Some(record) = reader.record() {
            prop_assert!(record.name.wire().len() <= MAX_NAME);
            let _ = record.target();
        }
    }
}
