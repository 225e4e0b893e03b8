use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn name(name: &str) -> Host {
    Host::Name(name.to_owned())
}

#[test]
fn connect() {
    let bytes = b"CONNECT Example.org:443 HTTP/1.1\r\nHost: other.org\r\n\r\nearly";
    let request = http(bytes).unwrap().unwrap();
    assert_eq!((request.host, request.port, request.head), (name("example.org"), 443, None));
    assert_eq!(&bytes[request.length..], b"early");
}

#[test]
fn absolute_form() {
    let bytes =
        b"GET http://example.org/a?b HTTP/1.1\r\nHost: other.org\r\nAccept: x\r\nProxy-Authorization: y\r\n\
                  CONNECTION: keep-alive\r\n\r\n";
    let request = http(bytes).unwrap().unwrap();
    assert_eq!((request.host, request.port, request.length), (name("example.org"), 80, bytes.len()));
    let head = "GET /a?b HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\nAccept: x\r\n\r\n";
    assert_eq!(String::from_utf8(request.head.unwrap()).unwrap(), head);
    let bare = http(b"GET HTTP://[::ffff:10.0.0.1]:81?x HTTP/1.0\r\n\r\n").unwrap().unwrap();
    assert_eq!((bare.host, bare.port), (Host::Address([10, 0, 0, 1].into()), 81));
    assert!(bare.head.unwrap().starts_with(b"GET /?x HTTP/1.0\r\nHost: [::ffff:10.0.0.1]:81\r\n"));
}

#[rstest]
#[case("GET / HTTP/1.1\r\n\r\n")]
#[case("GET https://a.org/ HTTP/1.1\r\n\r\n")]
#[case("GET ftp://a.org/ HTTP/1.1\r\n\r\n")]
#[case("GET http://user@a.org/ HTTP/1.1\r\n\r\n")]
#[case("GET http:///x HTTP/1.1\r\n\r\n")]
#[case("GET  http://a.org/ HTTP/1.1\r\n\r\n")]
#[case("GET http://a.org/ HTTP/2.0\r\n\r\n")]
#[case("GET http://a.org/ x HTTP/1.1\r\n\r\n")]
#[case("GET\thttp://a.org/\tHTTP/1.1\r\n\r\n")]
#[case("GET http://a.org\t/ HTTP/1.1\r\n\r\n")]
#[case("GET http://a.org/ HTTP/1.1\r\nA: b\nHost: c\r\n\r\n")]
#[case("GET http://a.org/ HTTP/1.1\r\nA: b\rHost: c\r\n\r\n")]
#[case("GET http://a.org/ HTTP/1.1\r\nA: \0\r\n\r\n")]
#[case("GET http://a.org/ HTTP/1.1\r\nno colon\r\n\r\n")]
#[case("GET http://a.org/ HTTP/1.1\r\n folded: x\r\n\r\n")]
#[case("GET http://a.org/ HTTP/1.1\r\nHost : x\r\n\r\n")]
#[case("GET http://a.org/ HTTP/1.1\r\n: x\r\n\r\n")]
#[case("CONNECT a.org HTTP/1.1\r\n\r\n")]
#[case("CONNECT a.org: HTTP/1.1\r\n\r\n")]
#[case("CONNECT a.org:0 HTTP/1.1\r\n\r\n")]
#[case("CONNECT a.org:65979 HTTP/1.1\r\n\r\n")]
#[case("CONNECT u:p@a.org:443 HTTP/1.1\r\n\r\n")]
#[case("CONNECT a.org\0.b.org:443 HTTP/1.1\r\n\r\n")]
#[case("CONNECT http://a.org:443 HTTP/1.1\r\n\r\n")]
#[case("connect a.org HTTP/1.1\r\n\r\n")]
#[case("\r\n\r\n")]
fn refused(#[case] request: &str) {
    assert_eq!(http(request.as_bytes()), Err(400));
}

#[test]
fn a_head_has_an_end() {
    assert_eq!(http(b"CONNECT a.org:443 HTTP/1.1\r\n"), Ok(None));
    assert_eq!(http(&vec![b'a'; MAX_HEAD + 1]), Err(431));
    let long = format!("CONNECT a.org:443 HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(MAX_HEAD));
    assert_eq!(http(long.as_bytes()), Err(431));
}

#[rstest]
#[case(&[], Socks::Incomplete)]
#[case(&[5], Socks::Incomplete)]
#[case(&[5, 2, 0], Socks::Incomplete)]
#[case(&[5, 2, 2, 0], Socks::Greeting(4, true))]
#[case(&[5, 1, 2], Socks::Greeting(3, false))]
#[case(&[5, 0], Socks::Greeting(2, false))]
#[case(&[4, 1, 0, 80], Socks::Garbage)]
fn greetings(#[case] bytes: &[u8], #[case] read: Socks) {
    assert_eq!(socks_greeting(bytes), read);
}

#[rstest]
#[case(&[5, 1, 0, 1, 1, 2, 3, 4, 1, 187, 9], Socks::Connect(10, Host::Address([1, 2, 3, 4].into()), 443))]
#[case(&[5, 1, 0, 3, 5, b'A', b'.', b'o', b'r', b'g', 0, 80], Socks::Connect(12, name("a.org"), 80))]
#[case(&[5, 1, 0, 3, 4, b'1', b'2', b'7', b'1', 0, 80], Socks::Connect(11, Host::Address([0, 0, 4, 247].into()), 80))]
#[case(&[5, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1, 0, 80],
    Socks::Connect(22, Host::Address([10, 0, 0, 1].into()), 80))]
#[case(&[5, 1, 0, 1, 1, 2, 3, 4, 1], Socks::Incomplete)]
#[case(&[5, 1, 0, 3], Socks::Incomplete)]
#[case(&[5, 1, 0, 3, 5, b'a'], Socks::Incomplete)]
#[case(&[5, 1, 0, 4, 0], Socks::Incomplete)]
#[case(&[5, 1], Socks::Incomplete)]
#[case(&[5, 2, 0, 1, 1, 2, 3, 4, 1, 187], Socks::Refused(COMMAND_UNKNOWN))]
#[case(&[5, 3, 0, 1, 1, 2, 3, 4, 1, 187], Socks::Refused(COMMAND_UNKNOWN))]
#[case(&[5, 1, 0, 2, 0], Socks::Refused(ADDRESS_UNKNOWN))]
#[case(&[5, 1, 0, 1, 1, 2, 3, 4, 0, 0], Socks::Refused(NOT_ALLOWED))]
#[case(&[5, 1, 0, 3, 0, 0, 80], Socks::Refused(NOT_ALLOWED))]
#[case(&[5, 1, 0, 3, 3, b'a', 0, b'b', 0, 80], Socks::Refused(NOT_ALLOWED))]
#[case(&[5, 1, 1, 1, 1, 2, 3, 4, 0, 1], Socks::Garbage)]
#[case(&[4, 1, 0, 80, 1, 2, 3, 4, 0], Socks::Garbage)]
fn requests(#[case] bytes: &[u8], #[case] read: Socks) {
    assert_eq!(socks_request(bytes), read);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::tests::cases(2000)))]

    #[test]
    fn no_bytes_make_a_parser_panic(
        start in prop::sample::select(vec![&b""[..], b"CONNECT ", b"GET http://", b"CONNECT a.org:443 HTTP/1.1\r\n", &[5, 1, 0, 3]]),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        end in prop::sample::select(vec![&b""[..], b"\r\n\r\n", b" HTTP/1.1\r\n\r\n"]),
    ) {
        let bytes = [start, &bytes, end].concat();
        if let Ok(Some(request)) = http(&bytes) {
            prop_assert!(request.length <= bytes.len() && request.port != 0);
        }
        if let Socks::Connect(length, _, port) = socks_request(&bytes) {
            prop_assert!(length <= bytes.len() && port != 0);
        }
        let _ = socks_greeting(&bytes);
    }

    #[test]
    fn what_arrives_in_pieces_is_read_as_a_whole(cut in 0usize..57) {
        let bytes = b"CONNECT example.org:443 HTTP/1.1\r\nUser-Agent: curl/8\r\n\r\n";
        let read = http(&bytes[..cut.min(bytes.len())]);
        let is_whole = read.unwrap().is_some();
        prop_assert_eq!(is_whole, cut >= bytes.len());
    }
}
