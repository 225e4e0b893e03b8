//! Far sides of other kinds: one that speaks TLS, one that resets, one that is slow, one that never answers, and another
//! sandbox.

use crate::lab::{ATTEMPT, Lab};
use crate::lines;
use crate::support::{status, stderr, stdout};

/// What is between the two ends carries TLS and is no end of it: the client sees the certificate of the far side.
#[test]
fn tls_is_spoken_with_the_far_side() {
    let ran = Lab::new().shell(
        "visit --cacert tls.pem https://allowed.example.org/where
        visit --cacert tls.pem https://203.0.113.9/where
        visit --cacert tls.pem https://203.0.113.10/where
        visit https://allowed.example.org/where
        visit --cacert tls.pem https://denied.example.org/where
        resets --cacert tls.pem https://168.0.0.1/where
        python3 -c \"
import socket, ssl
trusting = ssl.create_default_context(cafile='tls.pem')
for place in 'allowed.example.org', '203.0.113.9', '203.0.113.10':
    with socket.create_connection((place, 443), 5) as client:
        try:
            with trusting.wrap_socket(client, server_hostname=place) as secure:
                secure.sendall(b'GET /where HTTP/1.0\\r\\n\\r\\n')
                print(place, secure.makefile('rb').read().split()[-1].decode())
        except ssl.SSLCertVerificationError as error:
            print(place, error.verify_code)
\"",
    );
    // 60: not a certificate for this host, or of nobody who is trusted. 62: not for this host, 64: for this address
    // (X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH).
    let expected = lines(
        "--cacert tls.pem https://allowed.example.org/where 0 2606:4700::1
        --cacert tls.pem https://203.0.113.9/where 0 203.0.113.9
        --cacert tls.pem https://203.0.113.10/where 60 .
        https://allowed.example.org/where 60 .
        --cacert tls.pem https://denied.example.org/where 6 .
        --cacert tls.pem https://168.0.0.1/where reset
        allowed.example.org 2606:4700::1
        203.0.113.9 203.0.113.9
        203.0.113.10 64",
    );
    assert_eq!(ran.said, expected.replace(" .\n", " \n"));
}

#[test]
fn a_far_side_that_resets_or_is_slow_or_silent_is_heard_as_that() {
    let ran = Lab::new().python(&format!(
        "{ATTEMPT}
with socket.create_connection(('203.0.113.9', 7001), 5) as client:
    client.sendall(b'question\\n')
    print('resets', client.recv(5, socket.MSG_WAITALL).decode(), end=' ')
    client.sendall(b'more\\n')
    try:
        print(client.recv(1))
    except OSError as error:
        print(errno.errorcode[error.errno])
with socket.create_connection(('203.0.113.9', 7002), 5) as client:
    client.sendall(b'question\\n')
    with client.makefile('rb') as answer:
        print('slow', answer.read().decode())
# Nobody answers, and nobody says that nobody does: neither is it refused, nor is there an answer.
with socket.create_connection(('203.0.113.9', 7003), 5) as client:
    client.settimeout(1)
    client.sendall(b'question\\n')
    try:
        print('silent', client.recv(1))
    except TimeoutError:
        print('silent', 'timeout')
attempt('203.0.113.9', 80)
"
    ));
    let expected = lines(
        "resets begun ECONNRESET
        slow slowly
        silent timeout
        203.0.113.9 80 ok",
    );
    assert_eq!(ran.said, expected);
}

/// Two sandboxes of the same user. What one serves the other does not reach, published or not, whatever its rules.
#[test]
fn a_second_sandbox_does_not_reach_the_first() {
    const SERVES: &str = "network: {mode: allowlist, publish: [{port: 3000, to: '127.0.0.1:3999'}]}\n";
    const TRIES: &str = "
network:
  mode: allowlist
  special_use: allow
  allow:
    - {cidr: 0.0.0.0/0, ports: [80, 3000, 3001, 3999]}
    - {cidr: '::/0', ports: [80, 3000, 3001, 3999]}
    - {host: '*.example.org', ports: [3000, 3999]}
";
    const SERVER: &str = "
import selectors, socket, sys
waiting = selectors.DefaultSelector()
for address, port in ('127.0.0.1', 3000), ('0.0.0.0', 3001):
    waiting.register(socket.create_server((address, port)), selectors.EVENT_READ)
while True:
    for key, _ in waiting.select():
        client, _ = key.fileobj.accept()
        with client:
            heard = client.recv(100)
            client.sendall(b'inside:' + heard)
            print('server heard', heard, flush=True)
            if heard == b'end':
                sys.exit(0)
";
    const OUTSIDE: &str = "
import socket, sys, time
for _ in range(500):
    try:
        with socket.create_connection(('127.0.0.1', 3999), 5) as client:
            client.sendall(sys.argv[1].encode())
            answer = client.makefile('rb').read()
            if answer:
                print('outside', answer.decode(), flush=True)
                break
    except OSError:
        pass
    time.sleep(0.01)
";
    let lab = Lab::new();
    lab.write("serves.yaml", SERVES);
    lab.write("tries.yaml", TRIES);
    lab.write("server-inside.py", SERVER);
    lab.write("outside.py", OUTSIDE);
    let tries = format!(
        "{ATTEMPT}
for address in '127.0.0.1', '127.1.2.3', '0.0.0.0', '::1', '::ffff:127.0.0.1', '198.18.0.1':
    for port in 3000, 3001, 3999:
        attempt(address, port, say=b'from the other')
# Places of the host at which nobody listens: what is published stands at its loopback alone.
for address in '1.2.3.4', '10.9.9.9', '2606:4700::1':
    attempt(address, 3999, say=b'from the other')
attempt('1.2.3.4', 80)
"
    );
    lab.write("tries.py", &tries);
    let palisade = env!("CARGO_BIN_EXE_palisade");
    let script = format!(
        "{palisade} run --policy serves.yaml -- python3 -c \"$(cat server-inside.py)\" & \
         python3 outside.py first; {palisade} run --policy tries.yaml -- python3 -c \"$(cat tries.py)\"; \
         python3 outside.py end; wait $! || echo exit $?"
    );
    let ran = lab.within("", &["bash", "-c", &script]);
    assert_eq!(status(&ran), 0, "{}", stderr(&ran));
    let said = stdout(&ran);
    let (served, tried): (Vec<&str>, Vec<&str>) =
        said.lines().partition(|line| line.starts_with("server") || line.starts_with("outside"));
    let mut served = served;
    served.sort_unstable();
    assert_eq!(
        served,
        ["outside inside:end", "outside inside:first", "server heard b'end'", "server heard b'first'"]
    );
    let refused = |line: &&&str| line.ends_with("ECONNREFUSED") || line.ends_with("ECONNRESET");
    assert_eq!(tried.len(), 22, "{tried:?}");
    let through: Vec<_> = tried.iter().filter(|line| !refused(line)).collect();
    assert_eq!(through, [&"1.2.3.4 80 ok"]);
}
