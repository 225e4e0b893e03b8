//! What is carried, and what is told about it.

use std::fs;

use serde_json::Value;

use crate::lab::{Lab, here};
use crate::lines;

#[test]
fn what_is_closed_for_writing_is_still_read() {
    let ran = Lab::new().python(
        "
import hashlib, socket
content = bytes(range(256)) * 1024
for place in '203.0.113.9', '2001:db8::9', 'allowed.example.org', '203.0.113.10':
    with socket.create_connection((place, 7000), 5) as client:
        client.sendall(content)
        if place != '203.0.113.10':
            client.shutdown(socket.SHUT_WR)
        client.settimeout(5 if place != '203.0.113.10' else 0.5)
        try:
            with client.makefile('rb') as answer:
                print(place, answer.read().decode() == hashlib.sha256(content).hexdigest())
        except TimeoutError:
            print(place, 'nothing before the end')
try:
    socket.create_connection(('198.51.100.9', 7000), 5)
except OSError as error:
    print(error.errno)
",
    );
    let expected = lines(
        "203.0.113.9 True
        2001:db8::9 True
        allowed.example.org True
        203.0.113.10 nothing before the end
        101",
    );
    assert_eq!(ran.said, expected);
}

/// Ten megabytes each way, over each family and by name.
#[test]
fn much_is_carried_both_ways_and_arrives_as_it_was() {
    const SIZE: u64 = 10_000_000;
    let lab = Lab::new();
    let content: Vec<u8> =
        (0..SIZE).map(|index| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    fs::write(lab.path().join("www/much"), content).expect("written");
    let ran = lab.shell(
        "sum=$(sha256sum <www/much)
        for place in 203.0.113.9 '[2001:db8::9]' allowed.example.org; do
            [ \"$(curl -s --max-time 20 http://$place/much | sha256sum)\" = \"$sum\" ] && echo $place down
            [ \"$(curl -s --max-time 20 -T www/much http://$place/there)  -\" = \"$sum\" ] && echo $place up
        done
        visit -T www/much http://198.51.100.9/there",
    );
    let expected = lines(
        "203.0.113.9 down
        203.0.113.9 up
        [2001:db8::9] down
        [2001:db8::9] up
        allowed.example.org down
        allowed.example.org up",
    ) + "-T www/much http://198.51.100.9/there 7 \n";
    assert_eq!(ran.said, expected);
    let carried = |way: &str| ran.report["traffic"][way].as_u64().expect("a number");
    for way in ["sent_bytes", "received_bytes"] {
        // What is more than the content is what HTTP says beside it.
        assert!((3 * SIZE..3 * SIZE + 10_000).contains(&carried(way)), "{way} {}", carried(way));
    }
    assert_eq!(ran.report["traffic"]["allowed"], 6);
}

#[test]
fn the_report_tells_what_was_carried_and_what_was_refused() {
    let ran = Lab::new().shell(
        "visit http://allowed.example.org/where
        visit http://denied.example.org/where
        visit http://203.0.113.9:8080/where
        visit http://198.51.100.9/where",
    );
    let traffic = &ran.report["traffic"];
    assert_eq!(traffic["allowed"], 1);
    assert!(
        traffic["sent_bytes"].as_u64() > Some(0) && traffic["received_bytes"].as_u64() > Some(0),
        "{traffic}"
    );
    let network = &ran.report["denials"]["network"];
    let told = |one: &Value| {
        let word = |key: &str| one[key].as_str().unwrap_or("-").to_owned();
        let destination =
            format!("{} {} {} {}", word("protocol"), word("name"), word("address"), one["port"]);
        assert!(one["times"].as_u64() > Some(0), "{one}");
        format!("{destination} {}: {}", word("clause"), word("reason"))
    };
    let refused: Vec<String> = network["destinations"].as_array().expect("a list").iter().map(told).collect();
    // What has no route the kernel refuses, and nobody hears of it.
    assert_eq!(
        refused,
        [
            "- denied.example.org - null network.allow: no rule allows it",
            "tcp - 203.0.113.9 8080 network.special_use: special use: documentation (TEST-NET-3)",
        ]
    );
    let times =
        network["destinations"].as_array().into_iter().flatten().filter_map(|one| one["times"].as_u64());
    assert_eq!(traffic["denied"].as_u64(), Some(times.sum()));
}

#[test]
fn an_open_network_is_open_but_for_what_is_blocked() {
    if !here("nft", true) {
        eprintln!("skipped: no nft here");
        return;
    }
    let lab = Lab::new();
    lab.write("policy.yaml", "filesystem: {read_only: [.]}\nnetwork: {mode: open}\n");
    let ran = lab.shell(
        "visit -4 http://any.example.org/where
        visit -6 http://four.example.org:8080/where
        visit http://1.2.3.9/where
        visit http://[2606:4700::9]:8080/where
        visit http://169.254.169.254/where
        visit http://10.0.0.53/where
        visit http://203.0.113.9/where
        visit http://[fd00:ec2::254]/where",
    );
    let expected = lines(
        "-4 http://any.example.org/where 0 2606:4700::1
        -6 http://four.example.org:8080/where 0 1.2.3.4
        http://1.2.3.9/where 0 1.2.3.9
        http://[2606:4700::9]:8080/where 0 2606:4700::9
        http://169.254.169.254/where 7 .
        http://10.0.0.53/where 7 .
        http://203.0.113.9/where 7 .
        http://[fd00:ec2::254]/where 7 .",
    );
    assert_eq!(ran.said, expected.replace(" .\n", " \n"));
    let blocked =
        |line: &&String| ["169.254", "10.0.0.53", "203.0.113", "fd00"].iter().any(|part| line.contains(part));
    assert_eq!(ran.reached.iter().find(blocked), None);
}
