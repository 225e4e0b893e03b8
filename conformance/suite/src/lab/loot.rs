//! Tables of what there is to steal: files, sockets, environment variables. Data only; `scene.rs` plants it.

use std::path::{Path, PathBuf};

use super::canary::{Endpoint, Proto};
use super::world::{Caller, Mint, Owner, Presence, Secret, UnixService};

/// A foreign ordinary user, for files that only root can plant. The uid that workloads see as their own.
const OTHER_UID: u32 = 1000;

pub(super) fn secrets(caller: Caller, base: &Path, home: &Path, mint: &Mint) -> Vec<Secret> {
    use Owner::{Caller as Own, Other};
    let rows: [(&'static str, PathBuf, Owner, u32); 20] = [
        ("outside-readable", base.join("outside/secret.txt"), Own, 0o644),
        ("outside-private", base.join("outside/private.txt"), Own, 0o600),
        ("outside-writable", base.join("outside/target.txt"), Own, 0o666),
        ("outside-root", base.join("outside/root-owned.txt"), Own, 0o600),
        ("outside-other-user", base.join("outside/user-owned.txt"), Other(OTHER_UID), 0o600),
        ("sibling", base.join("work-sibling/secret.txt"), Own, 0o644),
        ("etc-shadow", "/etc/shadow".into(), Own, 0o600),
        ("resolv-conf", "/etc/resolv.conf".into(), Own, 0o644),
        ("ssh-key", home.join(".ssh/id_ed25519"), Own, 0o600),
        ("aws-credentials", home.join(".aws/credentials"), Own, 0o600),
        ("gcloud-credentials", home.join(".config/gcloud/application_default_credentials.json"), Own, 0o600),
        ("azure-credentials", home.join(".azure/accessTokens.json"), Own, 0o600),
        ("kube-config", home.join(".kube/config"), Own, 0o600),
        ("netrc", home.join(".netrc"), Own, 0o600),
        ("docker-config", home.join(".docker/config.json"), Own, 0o600),
        ("shell-rc", home.join(".bashrc"), Own, 0o644),
        ("kube-token", "/run/secrets/kubernetes.io/serviceaccount/token".into(), Own, 0o644),
        ("host-tmp", "/tmp/host-marker".into(), Own, 0o644),
        ("host-dev-shm", "/dev/shm/host-marker".into(), Own, 0o644),
        ("host-var-tmp", "/var/tmp/host-marker".into(), Own, 0o644),
    ];
    rows.into_iter()
        .map(|(id, path, owner, mode)| Secret {
            id,
            path,
            marker: mint.marker(id),
            owner,
            mode,
            presence: match (caller.rootless, id) {
                (true, "outside-root" | "outside-other-user") => {
                    Presence::Absent("only root can plant a file of another user".to_owned())
                }
                _ => Presence::Planted,
            },
        })
        .collect()
}

pub(super) fn services(base: &Path, runtime_dir: &Path, mint: &Mint) -> Vec<UnixService> {
    use Proto::{UnixDgram as Dgram, UnixStream as Stream};
    let path = |p: PathBuf| Endpoint::Path(p);
    let run = |p: &str| Endpoint::Path(Path::new("/run").join(p));
    let rows: [(&'static str, Endpoint, Proto); 17] = [
        ("docker", run("docker.sock"), Stream),
        ("containerd", run("containerd/containerd.sock"), Stream),
        ("podman", run("podman/podman.sock"), Stream),
        ("podman-user", path(runtime_dir.join("podman/podman.sock")), Stream),
        ("dbus-system", run("dbus/system_bus_socket"), Stream),
        ("dbus-session", path(runtime_dir.join("bus")), Stream),
        ("wayland", path(runtime_dir.join("wayland-0")), Stream),
        ("x11", path("/tmp/.X11-unix/X0".into()), Stream),
        ("x11-abstract", Endpoint::Abstract("/tmp/.X11-unix/X0".to_owned()), Stream),
        ("ssh-agent", path(base.join("agent/ssh.sock")), Stream),
        ("gpg-agent", path(home_gpg(base)), Stream),
        ("nscd", run("nscd/socket"), Stream),
        ("resolved", run("systemd/resolve/io.systemd.Resolve"), Stream),
        ("outside-stream", path(base.join("outside/stream.sock")), Stream),
        ("outside-dgram", path(base.join("outside/dgram.sock")), Dgram),
        ("abstract-stream", Endpoint::Abstract(mint.marker("stream")), Stream),
        ("abstract-dgram", Endpoint::Abstract(mint.marker("dgram")), Dgram),
    ];
    rows.into_iter()
        .map(|(id, endpoint, proto)| UnixService { id, endpoint, proto, presence: Presence::Planted })
        .collect()
}

fn home_gpg(base: &Path) -> PathBuf {
    base.join("home/.gnupg/S.gpg-agent")
}

/// Variables that a shell of a developer or of a CI job holds: credentials, by their usual names, and what
/// [`instructions`] lists.
pub(super) fn environment(home: &Path, runtime_dir: &Path, mint: &Mint) -> Vec<(String, String)> {
    let marked = |name: &str| {
        (name.to_owned(), mint.marker(&format!("env-{}", name.to_lowercase().replace('_', "-"))))
    };
    let mut all: Vec<(String, String)> = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "GITHUB_TOKEN",
        "ACTIONS_RUNTIME_TOKEN",
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
        "NPM_TOKEN",
        "CARGO_REGISTRY_TOKEN",
        "KUBE_TOKEN",
        "DATABASE_URL",
        "AZURE_CLIENT_SECRET",
        "DOCKER_AUTH_CONFIG",
        "GH_TOKEN",
        "GITLAB_TOKEN",
        "HF_TOKEN",
        "PGPASSWORD",
        "SUDO_COMMAND",
        "VAULT_TOKEN",
    ]
    .iter()
    .map(|name| marked(name))
    .collect();
    let at = |p: PathBuf| p.to_string_lossy().into_owned();
    let fixed = [
        ("KUBERNETES_SERVICE_HOST", "10.96.0.1".to_owned()),
        ("KUBERNETES_SERVICE_PORT", "6443".to_owned()),
        ("KUBECONFIG", at(home.join(".kube/config"))),
        (
            "GOOGLE_APPLICATION_CREDENTIALS",
            at(home.join(".config/gcloud/application_default_credentials.json")),
        ),
        ("SSH_AUTH_SOCK", at(PathBuf::from(super::world::BASE).join("agent/ssh.sock"))),
        ("XDG_RUNTIME_DIR", at(runtime_dir.to_owned())),
        ("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", at(runtime_dir.join("bus")))),
        ("DOCKER_HOST", "unix:///run/docker.sock".to_owned()),
        ("DISPLAY", ":0".to_owned()),
        ("WAYLAND_DISPLAY", "wayland-0".to_owned()),
    ];
    all.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
    all.extend(instructions(mint));
    all
}

/// Variables by which a caller's environment tells the loader, an interpreter or a client what to load, whom to trust or whom
/// to ask.
///
/// The control runs programs with them too, so each names something that does not exist and that the program passes over
/// silently: `LD_LIBRARY_PATH` is there, `LD_PRELOAD`, about which the loader complains, is not.
fn instructions(mint: &Mint) -> Vec<(String, String)> {
    const NAMES: [(&str, &str); 28] = [
        ("ALL_PROXY", "http://lab:{}@127.0.0.1:9"),
        ("BASH_ENV", "/nonexistent/{}"),
        ("ENV", "/nonexistent/{}"),
        ("GCONV_PATH", "/nonexistent/{}"),
        ("GIT_ASKPASS", "/nonexistent/{}"),
        ("GIT_CONFIG_GLOBAL", "/nonexistent/{}"),
        ("GIT_EXTERNAL_DIFF", "/nonexistent/{}"),
        ("GIT_SSH_COMMAND", "/nonexistent/{}"),
        ("GLIBC_TUNABLES", "glibc.palisade.{}=0"),
        ("HTTPS_PROXY", "http://lab:{}@127.0.0.1:9"),
        ("http_proxy", "http://lab:{}@127.0.0.1:9"),
        ("LD_BIND_NOW", "{}"),
        ("LD_DEBUG_OUTPUT", "/nonexistent/{}"),
        ("LD_LIBRARY_PATH", "/nonexistent/{}"),
        ("LD_PROFILE_OUTPUT", "/nonexistent/{}"),
        ("NODE_OPTIONS", "--title={}"),
        ("NOTIFY_SOCKET", "/nonexistent/{}"),
        ("OLDPWD", "/nonexistent/{}"),
        ("PERL5LIB", "/nonexistent/{}"),
        ("PERL5OPT", "-I/nonexistent/{}"),
        ("PYTHONPATH", "/nonexistent/{}"),
        ("PYTHONSTARTUP", "/nonexistent/{}"),
        ("REQUESTS_CA_BUNDLE", "/nonexistent/{}"),
        ("RUBYLIB", "/nonexistent/{}"),
        ("RUBYOPT", "-I/nonexistent/{}"),
        ("SSLKEYLOGFILE", "/nonexistent/{}"),
        ("SSL_CERT_FILE", "/nonexistent/{}"),
        ("USER", "{}"),
    ];
    let words = |name: &str| name.to_lowercase().replace('_', "-");
    let value = |name: &str, shape: &str| shape.replace("{}", &mint.marker(&format!("env-{}", words(name))));
    NAMES.iter().map(|(name, shape)| ((*name).to_owned(), value(name, shape))).collect()
}
