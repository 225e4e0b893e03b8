//! Lays out the files of the world: workspaces, secrets, home, directories of sockets.
//!
//! Writes only below the lab's own mounts; files elsewhere (`/etc/shadow`) are covered by a bind mount of a file
//! that lies in the lab.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::mount_bind;

use super::canary::Endpoint;
use super::error::{During, LabError};
use super::mounts::{self, Covered};
use super::world::{Owner, Presence, Secret, Workspace, World};

/// Everything but the default workspace's processes and sockets.
pub(super) fn lay_out(world: &mut World, covered: &Covered) -> Result<(), LabError> {
    for dir in [&world.base, &world.cases, &world.home, &world.base.join("etc")] {
        directory(dir, 0o755)?;
    }
    directory(&world.base.join("tools"), 0o755)?;
    if covered.holds(&world.runtime_dir) {
        // Root's workloads have another uid: open to all, so that only the sandbox keeps them out.
        directory(&world.runtime_dir, if world.rootless { 0o700 } else { 0o755 })?;
    }
    file(&world.probe, palisade_probe::IMAGE, 0o755)?;
    let base = world.base.clone();
    for secret in &mut world.secrets {
        if secret.presence.is_planted() {
            secret.presence = plant(secret, &base, covered)?;
        }
    }
    for service in &mut world.services {
        if let Endpoint::Path(path) = &service.endpoint {
            if !covered.holds(path) {
                service.presence = Presence::Absent(format!("{} could not be covered", path.display()));
                continue;
            }
            let mode = if path.starts_with("/tmp/.X11-unix") { 0o1777 } else { 0o755 };
            path.parent().map_or(Ok(()), |dir| directory(dir, mode))?;
        }
    }
    workspace(&world.work, &world.secret("outside-readable").path, &world.submounts)
}

/// Lays out one workspace: directories, files, links and the mount inside it.
pub(super) fn workspace(work: &Workspace, link_to: &Path, submounts: &Presence) -> Result<(), LabError> {
    directory(&work.dir, 0o755)?;
    for path in [&work.mountpoint, &work.submount] {
        directory(path, 0o755)?;
    }
    if submounts.is_planted() {
        // As big as its one file needs, and a little to write.
        mounts::tmpfs(&work.submount, "mode=755,size=1m,nr_inodes=64")?;
    }
    symlink(link_to, &work.link_out).during(|| format!("link {}", work.link_out.display()))?;
    symlink("nested", &work.alias).during(|| format!("link {}", work.alias.display()))?;
    refresh(work)?;
    for (directory_of, place) in &work.twice {
        directory(place, 0o755)?;
        if submounts.is_planted() {
            mount_bind(directory_of, place).during(|| format!("bind {}", place.display()))?;
        }
    }
    Ok(())
}

/// Writes the plain files of a workspace, over whatever a workload left in their place.
pub(super) fn refresh(work: &Workspace) -> Result<(), LabError> {
    let allowed = format!("{}\n", work.allowed_marker);
    let script = format!("#!/bin/sh\necho {}\n", work.allowed_marker);
    let dotenv = format!("SECRET={}\n", work.dotenv_marker);
    file(&work.allowed, allowed.as_bytes(), 0o644)?;
    file(&work.nested, allowed.as_bytes(), 0o644)?;
    file(&work.submount_file, allowed.as_bytes(), 0o644)?;
    file(&work.script, script.as_bytes(), 0o755)?;
    file(&work.dotenv, dotenv.as_bytes(), 0o600)?;
    file(&work.git_hook, b"#!/bin/sh\nexit 0\n", 0o755)?;
    file(&work.agent_config, b"{}\n", 0o644)?;
    file(&work.probe, palisade_probe::IMAGE, 0o755)
}

fn plant(secret: &Secret, base: &Path, covered: &Covered) -> Result<Presence, LabError> {
    let content = content(secret);
    let path = &secret.path;
    if path.starts_with("/etc") {
        // The file to put over the host's: a name of its own for each, and its place in the lab is told to nobody.
        let below = path.strip_prefix("/etc").unwrap_or(path).to_string_lossy().replace('/', "-");
        let source = base.join("etc").join(below);
        file(&source, content.as_bytes(), secret.mode)?;
        revive_link_target(path, covered)?;
        return Ok(mounts::over(&source, path));
    }
    if !covered.holds(path) {
        return Ok(Presence::Absent(format!("{} could not be covered", path.display())));
    }
    file(path, content.as_bytes(), secret.mode)?;
    if let Owner::Other(id) = secret.owner {
        chown(path, Some(id), Some(id)).during(|| format!("chown {} {}", id, path.display()))?;
    }
    Ok(Presence::Planted)
}

/// What the file of a secret holds: its marker, in a shape that a program that expects such a file can bear.
fn content(secret: &Secret) -> String {
    let marker = &secret.marker;
    match secret.id {
        "etc-shadow" => format!("root:*:19000:0:99999:7:::\nlab:{marker}:19000:0:99999:7:::\n"),
        "resolv-conf" => format!("# {marker}\nnameserver 10.0.0.53\noptions timeout:1 attempts:1\n"),
        "netrc" => format!("machine lab.test login lab password {marker}\n"),
        "shell-rc" => format!("# {marker}\n"),
        "aws-credentials" => format!("[default]\naws_secret_access_key = {marker}\n"),
        "docker-config" | "gcloud-credentials" | "azure-credentials" => {
            format!("{{\"secret\": \"{marker}\"}}\n")
        }
        _ => format!("{marker}\n"),
    }
}

/// On many hosts `/etc/resolv.conf` is a link to a file below `/run`, which the lab's own `/run` hides.
fn revive_link_target(path: &Path, covered: &Covered) -> Result<(), LabError> {
    let Ok(target) = fs::read_link(path) else { return Ok(()) };
    let target = path.parent().unwrap_or(Path::new("/")).join(target);
    match normalize(&target) {
        target if covered.holds(&target) && !target.exists() => file(&target, b"", 0o644),
        _ => Ok(()),
    }
}

/// Resolves `..` by name, for a target that does not exist and whose parents are no links.
fn normalize(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        if part == std::path::Component::ParentDir {
            clean.pop();
        } else {
            clean.push(part);
        }
    }
    clean.strip_prefix("/var/run").map(|rest| Path::new("/run").join(rest)).unwrap_or(clean)
}

fn directory(path: &Path, mode: u32) -> Result<(), LabError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .during(|| format!("create {}", path.display()))?;
    permit(path, mode)
}

/// A fresh file, whatever lay there: a workload may have left a link, a device or a file that is not writable.
fn file(path: &Path, content: &[u8], mode: u32) -> Result<(), LabError> {
    if let Some(dir) = path.parent().filter(|dir| !dir.exists()) {
        directory(dir, 0o755)?;
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(LabError::step(format!("remove {}", path.display()), e));
        }
        _ => {}
    }
    let write = || -> io::Result<()> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
    };
    write().during(|| format!("write {}", path.display()))?;
    permit(path, mode)
}

/// Sets the mode against the caller's umask.
fn permit(path: &Path, mode: u32) -> Result<(), LabError> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .during(|| format!("chmod {mode:o} {}", path.display()))
}
