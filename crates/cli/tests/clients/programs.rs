//! Programs that know nothing of the sandbox: git, python, node, a resolver of its own, a static client.

use std::process::Command;

use crate::lab::{ATTEMPT, Lab, here};
use crate::lines;
use crate::support::{output, status, stderr};

#[test]
fn git_clones_over_http() {
    let lab = Lab::new();
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(arguments);
        let done = output(git.current_dir(lab.path()));
        assert_eq!(status(&done), 0, "{}", stderr(&done));
    };
    git(&["init", "--quiet", "source"]);
    lab.write("source/file", "content\n");
    git(&["-C", "source", "add", "file"]);
    git(&["-C", "source", "commit", "--quiet", "--message", "the first commit"]);
    git(&["clone", "--quiet", "--bare", "source", "www/repository.git"]);
    git(&["-C", "www/repository.git", "update-server-info"]);

    let ran = lab.shell(
        "for from in allowed.example.org four.example.org 203.0.113.9 '[2001:db8::9]' denied.example.org 198.51.100.9; do
            rm -rf /tmp/clone
            git clone --quiet http://$from/repository.git /tmp/clone 2>/tmp/error
            echo $from $? $(git -C /tmp/clone log --format=%s 2>/dev/null) $(cat /tmp/clone/file 2>/dev/null)
            grep -oE 'Could not resolve host|connect to server' /tmp/error
        done
        true",
    );
    let expected = lines(
        "allowed.example.org 0 the first commit content
        four.example.org 0 the first commit content
        203.0.113.9 0 the first commit content
        [2001:db8::9] 0 the first commit content
        denied.example.org 128
        Could not resolve host
        198.51.100.9 128
        connect to server",
    );
    assert_eq!(ran.said, expected);
    let denied = |line: &&String| line.contains("denied") || line.contains("198.51.100.9");
    assert_eq!(ran.reached.iter().find(denied), None);
}

#[test]
fn python_resolves_and_fetches() {
    let ran = Lab::new().python(
        "
import socket, urllib.error, urllib.request
for name in 'allowed.example.org', 'denied.example.org':
    for family in socket.AF_INET, socket.AF_INET6:
        try:
            [found] = socket.getaddrinfo(name, 80, family, socket.SOCK_STREAM)
            print(name, found[0].name, found[4][1])
        except socket.gaierror as error:
            print(name, family.name, error.errno == socket.EAI_NONAME)
for place in 'allowed.example.org', 'four.example.org', '203.0.113.9', '[2001:db8::9]', 'denied.example.org', '198.51.100.9':
    try:
        print(place, urllib.request.urlopen(f'http://{place}/where', timeout=5).read().decode())
    except urllib.error.URLError as error:
        print(place, type(error.reason).__name__, error.reason.errno)
",
    );
    let expected = lines(
        "allowed.example.org AF_INET 80
        allowed.example.org AF_INET6 80
        denied.example.org AF_INET True
        denied.example.org AF_INET6 True
        allowed.example.org 2606:4700::1
        four.example.org 1.2.3.4
        203.0.113.9 203.0.113.9
        [2001:db8::9] 2001:db8::9
        denied.example.org gaierror -2
        198.51.100.9 OSError 101",
    );
    assert_eq!(ran.said, expected);
    assert!(!ran.reached.contains(&"dns denied.example.org".to_owned()), "{:?}", ran.reached);
}

/// As Go's own resolver does: the server of resolv.conf(5) and nothing else, over UDP, or TCP where that is asked for.
#[test]
fn a_resolver_that_ignores_nsswitch_is_answered() {
    let ran = Lab::new().python(&format!(
        "{ATTEMPT}
import struct
[server] = [line.split()[1] for line in open('/etc/resolv.conf') if line.startswith('nameserver')]

def ask(name, kind, transport):
    query = struct.pack('!6H', 4711, 0x0100, 1, 0, 0, 0)
    query += b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))
    query += struct.pack('!BHH', 0, kind, 1)
    with socket.socket(socket.AF_INET, transport) as client:
        client.settimeout(5)
        client.connect((server, 53))
        if transport == socket.SOCK_STREAM:
            client.sendall(struct.pack('!H', len(query)) + query)
            answer = client.makefile('rb')
            answer = answer.read(*struct.unpack('!H', answer.read(2)))
        else:
            client.send(query)
            answer = client.recv(4096)
    number, flags, _, answers, _, _ = struct.unpack('!6H', answer[:12])
    assert number == 4711
    length = {{1: 4, 28: 16}}[kind]
    family = socket.AF_INET if kind == 1 else socket.AF_INET6
    return flags & 15, [socket.inet_ntop(family, answer[-length:])] * answers

for transport in socket.SOCK_DGRAM, socket.SOCK_STREAM:
    for kind in 1, 28:
        code, [address] = ask('allowed.example.org', kind, transport)
        print(code, end=' ')
        attempt(address, 80)
        print(*ask('denied.example.org', kind, transport))
# The servers outside are no servers inside.
attempt('10.0.0.53', 53, socket.SOCK_DGRAM, b'query')
"
    ));
    let synthetic = |line: &str| line.starts_with("0 198.18.") || line.starts_with("0 198.19.");
    let said: Vec<&str> = ran.said.lines().collect();
    assert_eq!(said.len(), 9, "{}", ran.said);
    for pair in said[..8].chunks(4) {
        assert!(synthetic(pair[0]) && pair[0].ends_with(" 80 ok"), "{}", pair[0]);
        assert!(
            pair[2].starts_with("0 ") && pair[2].contains(':') && pair[2].ends_with(" 80 ok"),
            "{}",
            pair[2]
        );
        assert_eq!([pair[1], pair[3]], ["3 []", "3 []"]);
    }
    assert_eq!(said[8], "10.0.0.53 53 ENETUNREACH");
    assert_eq!(ran.reached, ["dns allowed.example.org", "http 2606:4700::1 None /where"]);
}

#[test]
fn a_static_client_needs_no_proxy_variables() {
    let lab = Lab::new();
    lab.write("client.c", include_str!("client.c"));
    let built =
        output(Command::new("cc").args(["-static", "-o", "client", "client.c"]).current_dir(lab.path()));
    assert_eq!(status(&built), 0, "{}", stderr(&built));
    let ran = lab.shell(
        "export http_proxy=http://127.0.0.1:9 HTTP_PROXY=http://127.0.0.1:9 ALL_PROXY=socks5h://127.0.0.1:9
        visit http://203.0.113.9/where
        ./client 203.0.113.9 80 /where
        ./client 2001:db8::9 80 /where
        ./client 198.51.100.9 80 /where
        ./client 2001:db9::9 80 /where
        ./client 203.0.113.9 8080 /where
        true",
    );
    // 101: ENETUNREACH, 104: ECONNRESET. That curl fails shows that the variables lead nowhere.
    let expected =
        "http://203.0.113.9/where 7 \n203.0.113.9\n2001:db8::9\nrefused 101\nrefused 101\nrefused 104\n";
    assert_eq!(ran.said, expected);
    assert_eq!(ran.reached, ["http 2001:db8::9 x /where", "http 203.0.113.9 x /where"]);
}

#[test]
fn node_with_both_of_its_resolvers() {
    if !here("node", false) {
        eprintln!("skipped: no node here");
        return;
    }
    // `lookup` asks the resolver library, `resolve` the server of resolv.conf(5) itself.
    let ran = Lab::new().run(&[
        "node",
        "-e",
        "
const dns = require('dns').promises, http = require('http');
const get = (place, family) => new Promise(done => {
    http.get(`http://${place}/where`, {family, timeout: 5000}, answer => {
        answer.setEncoding('utf8').on('data', done);
    }).on('timeout', () => done('timeout')).on('error', error => done(error.code));
});
const code = error => error.code;
(async () => {
    for (const family of [4, 6]) console.log(family, await get('allowed.example.org', family));
    for (const place of ['203.0.113.9', '[2001:db8::9]', 'denied.example.org', '198.51.100.9', '203.0.113.9:8080'])
        console.log(place, await get(place));
    for (const name of ['allowed.example.org', 'denied.example.org']) {
        console.log(name, await dns.resolve4(name).then(list => list.length, code));
        console.log(name, await dns.resolve6(name).then(list => list.length, code));
    }
})();
",
    ]);
    let expected = lines(
        "4 2606:4700::1
        6 2606:4700::1
        203.0.113.9 203.0.113.9
        [2001:db8::9] 2001:db8::9
        denied.example.org ENOTFOUND
        198.51.100.9 ENETUNREACH
        203.0.113.9:8080 ECONNRESET
        allowed.example.org 1
        allowed.example.org 1
        denied.example.org ENOTFOUND
        denied.example.org ENOTFOUND",
    );
    assert_eq!(ran.said, expected);
    assert!(!ran.reached.contains(&"dns denied.example.org".to_owned()), "{:?}", ran.reached);
}
