//! Package managers, each with an index of its own in the lab.

use std::process::Command;

use crate::lab::Lab;
use crate::support::{output, status, stderr};

/// Whom they are told to fetch from, and whether that works: over both families by name and by address.
const PLACES: [(&str, bool); 7] = [
    ("allowed.example.org", true),
    ("four.example.org", true),
    ("six.example.org", true),
    ("203.0.113.9", true),
    ("[2001:db8::9]", true),
    ("denied.example.org", false),
    ("198.51.100.9", false),
];

/// Makes what is to be fetched, in the directory that the lab serves.
fn made(lab: &Lab, program: &str) {
    let made = output(Command::new("python3").args(["-c", program]).current_dir(lab.path().join("www")));
    assert_eq!(status(&made), 0, "{}", stderr(&made));
}

/// Runs `fetch` for each of `places`, `$from`, and asserts that it leaves `fetched` behind where that is allowed.
fn assert_fetched(lab: &Lab, places: &[(&str, bool)], fetch: &str, fetched: &str) {
    let quoted: String = places.iter().map(|(place, _)| format!("'{place}' ")).collect();
    let ran = lab.shell(&format!(
        "export HOME=/tmp/home
        for from in {quoted}; do
            rm -rf /tmp/home /tmp/there; mkdir -p /tmp/home /tmp/there
            {fetch} >/tmp/said 2>&1 && code=ok || code=failed
            [ -e {fetched} ] && echo \"$from $code fetched\" || echo \"$from $code nothing\"
        done"
    ));
    let outcome = |works: bool| if works { "ok fetched" } else { "failed nothing" };
    let expected: String =
        places.iter().map(|&(place, works)| format!("{place} {}\n", outcome(works))).collect();
    assert_eq!(ran.said, expected);
    let denied = |line: &&String| line.contains("denied") || line.contains("198.51.100.9");
    assert_eq!(ran.reached.iter().find(denied), None);
}

fn is_inside(lab: &Lab, program: &str) -> bool {
    let inside =
        lab.shell(&format!("{program} --version >/dev/null 2>&1 && echo yes || echo no")).said == "yes\n";
    if !inside {
        eprintln!("skipped: no {program} in a sandbox here");
    }
    inside
}

#[test]
fn pip_downloads_from_an_index() {
    let lab = Lab::new();
    if !is_inside(&lab, "python3 -m pip") {
        return;
    }
    made(
        &lab,
        "
import os, zipfile
os.makedirs('simple/thing')
name = 'thing-1.0-py3-none-any.whl'
with open('simple/thing/index.html', 'w') as file:
    file.write(f'<!DOCTYPE html><html><body><a href=\"{name}\">{name}</a></body></html>')
with zipfile.ZipFile(f'simple/thing/{name}', 'w') as wheel:
    wheel.writestr('thing.py', '')
    wheel.writestr('thing-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: thing\\nVersion: 1.0\\n')
    wheel.writestr('thing-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('thing-1.0.dist-info/RECORD', '')
",
    );
    assert_fetched(
        &lab,
        &PLACES,
        "python3 -m pip download --no-deps --no-cache-dir --disable-pip-version-check --retries 0 --timeout 10 \
            --index-url http://$from/simple --trusted-host $from --dest /tmp/there thing",
        "/tmp/there/thing-1.0-py3-none-any.whl",
    );
}

#[test]
fn npm_installs_from_a_registry() {
    let lab = Lab::new();
    if !is_inside(&lab, "npm") {
        return;
    }
    made(
        &lab,
        "
import io, json, tarfile
package = {'name': 'thing', 'version': '1.0.0'}
# The address in it is somebody else's; npm is told to stay with its registry.
package_there = {**package, 'dist': {'tarball': 'http://elsewhere.example.org/thing-1.0.0.tgz'}}
with open('thing', 'w') as file:
    json.dump({'name': 'thing', 'dist-tags': {'latest': '1.0.0'}, 'versions': {'1.0.0': package_there}}, file)
content = json.dumps(package).encode()
with tarfile.open('thing-1.0.0.tgz', 'w:gz') as archive:
    entry = tarfile.TarInfo('package/package.json')
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
",
    );
    // With an IPv6 address in brackets npm asks the resolver for a name with brackets, sandbox or not.
    let places: Vec<(&str, bool)> = PLACES.into_iter().filter(|(place, _)| !place.starts_with('[')).collect();
    assert_fetched(
        &lab,
        &places,
        "npm install --registry http://$from/ --replace-registry-host always --no-audit --no-fund \
            --no-update-notifier --fetch-retries 0 --prefix /tmp/there thing",
        "/tmp/there/node_modules/thing/package.json",
    );
}

/// What is refused is refused sooner than ten times what it takes to fetch something: nobody waits for a time-out.
#[test]
fn refusals_are_prompt() {
    let ran = Lab::new().python(
        "
import socket, statistics, time
def fetch(place, port):
    family, _, _, _, address = socket.getaddrinfo(place, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family) as client:
        client.settimeout(20)
        client.connect(address)
        client.sendall(b'GET /where HTTP/1.0\\r\\n\\r\\n')
        return client.recv(1)
times = {}
places = [('allowed.example.org', 80), ('denied.example.org', 80), ('203.0.113.9', 8080), ('2001:db8::9', 8080),
          ('198.51.100.9', 80), ('2001:db9::9', 80), ('203.0.113.9', 81)]
for _ in range(9):
    for place in places:
        start = time.perf_counter()
        try:
            answered = fetch(*place)
        except OSError:
            answered = None
        times.setdefault(place, []).append(time.perf_counter() - start)
        assert bool(answered) == (place[0] == 'allowed.example.org'), (place, answered)
allowed = statistics.median(times[places[0]])
for place in places[1:]:
    ratio = statistics.median(times[place]) / allowed
    print(*place, 'prompt' if ratio < 10 else f'{ratio} of what is allowed')
",
    );
    let expected = "denied.example.org 80 prompt\n203.0.113.9 8080 prompt\n2001:db8::9 8080 prompt\n\
                    198.51.100.9 80 prompt\n2001:db9::9 80 prompt\n203.0.113.9 81 prompt\n";
    assert_eq!(ran.said, expected);
}
