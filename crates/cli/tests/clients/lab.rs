//! A private network in which every address answers, and sandboxes in it. The network is `lab.sh`, what answers is `server.py`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{output, status, stderr, stdout};

const POLICY: &str = "
filesystem: {read_only: [.]}
network:
  mode: allowlist
  allow:
    - {host: allowed.example.org, ports: [80, 443, 7000, 8080]}
    - {host: four.example.org, ports: [80]}
    - {host: six.example.org, ports: [80]}
    - {cidr: 203.0.113.0/24, ports: [80, 82, 443, 7000, 7001, 7002, 7003]}
    - {cidr: 203.0.113.0/24, ports: [5353], protocol: udp}
    - {cidr: '2001:db8::/32', ports: [80, 7000]}
    - {cidr: 168.0.0.0/7, ports: [80]}
";

/// A hang is a failure after this many seconds.
const PATIENCE: &str = "60";

/// For shell scripts: says for one visit the words that it is called with, curl's status and the body of the answer. 28 would be
/// a time-out. `resets` is for visits that the gateway resets: curl says 7, 35, 55 or 56 (curl(1), EXIT CODES), by how far it had come.
pub(crate) const VISIT: &str = r#"
visit() { body=$(curl -s --max-time 5 "$@") && code=0 || code=$?; echo "$* $code $body"; }
resets() { visit "$@" | sed -E 's/ (7|35|55|56) $/ reset/'; }
"#;

/// For Python programs: how a connection and what follows went. A reset from the gateway is an error of connect(2), or of the
/// first call after, whichever the kernel comes to first.
pub(crate) const ATTEMPT: &str = "
import errno, socket
def attempt(address, port, kind=socket.SOCK_STREAM, say=b'GET /where HTTP/1.0\\r\\n\\r\\n'):
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    with socket.socket(family, kind) as client:
        client.settimeout(5)
        try:
            client.connect((address, port))
            client.sendall(say)
            print(address, port, 'ok' if client.recv(1) else 'end')
        except TimeoutError:
            print(address, port, 'timeout')
        except OSError as error:
            print(address, port, errno.errorcode[error.errno])
";

/// A directory with what the lab needs.
pub(crate) struct Lab(TempDir);

/// What a sandbox in the lab did.
pub(crate) struct Ran {
    pub(crate) said: String,
    pub(crate) report: Value,
    /// What reached the server, sorted, each once.
    pub(crate) reached: Vec<String>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let lab = Self(directory);
        lab.write("lab.sh", include_str!("lab.sh"));
        lab.write("server.py", include_str!("server.py"));
        lab.write("tls.pem", include_str!("tls.pem"));
        lab.write("resolv.conf", "nameserver 10.0.0.53\n");
        lab.write("policy.yaml", POLICY);
        fs::create_dir(lab.path().join("www")).expect("made");
        lab
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.path().join(name), content).expect("written");
    }

    /// Runs a shell script in a new network namespace, then the lab with `command` in that.
    pub(crate) fn within(&self, script: &str, command: &[&str]) -> Output {
        let mut unshare = Command::new("timeout");
        unshare.args(["--kill-after=5", PATIENCE, "unshare", "--net", "--mount"]);
        if !is_root() {
            unshare.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        let outside = fs::read_link("/proc/self/ns/net").expect("a network namespace");
        let script =
            format!("set -e; outside=$1; shift\n{script}\nexec bash lab.sh \"$outside\" \"$PWD\" \"$@\"");
        unshare.args(["bash", "-c", &script, "_"]).arg(outside).args(command);
        output(unshare.current_dir(self.path()).stdin(Stdio::null()))
    }

    /// Runs palisade in the lab, and says what it printed.
    pub(crate) fn palisade(&self, arguments: &[&str]) -> String {
        let mut words = Vec::new();
        if !is_root() {
            // What it took to make the network is no longer needed.
            words.extend(["setpriv", "--inh-caps=-all", "--ambient-caps=-all"]);
        }
        words.push(env!("CARGO_BIN_EXE_palisade"));
        words.extend(arguments);
        let ran = self.within("", &words);
        let server = fs::read_to_string(self.path().join("server.err")).unwrap_or_default();
        assert_eq!(status(&ran), 0, "{}\n{}\n{server}", stdout(&ran), stderr(&ran));
        stdout(&ran)
    }

    /// Runs `command` in a sandbox in the lab.
    pub(crate) fn run(&self, command: &[&str]) -> Ran {
        self.run_by(["--policy", "policy.yaml"], command)
    }

    pub(crate) fn run_by(&self, what: [&str; 2], command: &[&str]) -> Ran {
        let _ = fs::remove_file(self.path().join("log"));
        let mut words = vec!["run", what[0], what[1], "--report", "report.json", "--"];
        words.extend(command);
        let said = self.palisade(&words);
        let report = fs::read_to_string(self.path().join("report.json")).expect("a report");
        let log = fs::read_to_string(self.path().join("log")).unwrap_or_default();
        let mut reached: Vec<String> = log.lines().map(str::to_owned).collect();
        reached.sort();
        reached.dedup();
        Ran { said, report: serde_json::from_str(&report).expect("JSON"), reached }
    }

    pub(crate) fn shell(&self, script: &str) -> Ran {
        self.run(&["sh", "-c", &format!("{VISIT}{script}")])
    }

    pub(crate) fn python(&self, program: &str) -> Ran {
        self.run(&["python3", "-c", program])
    }
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// Whether a program is here. Where nothing may be skipped it has to be, if `must`.
pub(crate) fn here(program: &str, must: bool) -> bool {
    let found =
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let strict = must && std::env::var_os("PALISADE_MUST_WORK").is_some_and(|value| value == "1");
    assert!(found || !strict, "{program} is missing and PALISADE_MUST_WORK=1");
    found
}
