//! A server inside that is reached from outside at the place that the policy publishes, and nowhere else.

use crate::lab::Lab;
use crate::lines;
use crate::support::{status, stderr, stdout};

/// Two ports are listened on inside; one is published.
const POLICY: &str = "
network:
  mode: allowlist
  publish: [{port: 3000, to: '127.0.0.1:3999'}]
";

/// Echoes on each port of the sandbox's loopback, the IPv6 one too, until it is told to end.
const SERVER: &str = "
import selectors, socket, sys
waiting = selectors.DefaultSelector()
for address, port in ('127.0.0.1', 3000), ('127.0.0.1', 3001):
    waiting.register(socket.create_server((address, port)), selectors.EVENT_READ)
while True:
    for key, _ in waiting.select():
        client, _ = key.fileobj.accept()
        with client:
            heard = client.recv(100)
            client.sendall(b'inside:' + heard)
            if heard == b'end':
                sys.exit(7)
";

/// Outside: asks until somebody answers, since the server begins when it begins.
const CLIENT: &str = "
import socket, time
def ask(port, what):
    with socket.create_connection(('127.0.0.1', port), 5) as client:
        client.sendall(what)
        client.shutdown(socket.SHUT_WR)
        return client.makefile('rb').read()
def insist(port, what):
    for _ in range(500):
        try:
            answer = ask(port, what)
            if answer:
                return answer
        except OSError:
            pass
        time.sleep(0.01)
print(insist(3999, b'hello').decode())
for port in 3000, 3001:
    try:
        print(ask(port, b'hello'))
    except OSError as error:
        print(port, error.strerror)
print(ask(3999, b'end').decode())
";

#[test]
fn a_published_port_is_reached_and_no_other() {
    let lab = Lab::new();
    lab.write("published.yaml", POLICY);
    lab.write("server-inside.py", SERVER);
    lab.write("client-outside.py", CLIENT);
    let palisade = env!("CARGO_BIN_EXE_palisade");
    let script = format!(
        "{palisade} run --policy published.yaml -- python3 -c \"$(cat server-inside.py)\" & \
         python3 client-outside.py; wait $! || echo exit $?"
    );
    let ran = lab.within("", &["bash", "-c", &script]);
    assert_eq!(status(&ran), 0, "{}", stderr(&ran));
    let expected = lines(
        "inside:hello
        3000 Connection refused
        3001 Connection refused
        inside:end
        exit 7",
    );
    assert_eq!(stdout(&ran), expected, "{}", stderr(&ran));
}
