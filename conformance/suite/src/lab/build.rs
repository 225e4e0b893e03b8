//! Builds the lab, in the order in which each part needs what comes before it, and holds what must stay open.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::canary::{Canary, Endpoint, Sockets};
use super::error::{During, LabError};
use super::guard::{Isolated, assert_isolated};
use super::mounts::{self, Covered, PlantedMount};
use super::world::{Caller, Mint, Presence, Tool, Workspace, World};
use super::{caps, decoy, leaks, network, objects, scene, seal};
use crate::entry::Entry;

/// What the caller wants to have in the lab besides what is always there.
#[derive(Clone, Debug, Default)]
pub struct LabOptions {
    /// Executables to carry in, by name: the runtime under test, wherever it lies. A name becomes a file name.
    /// The suite's own executable is always there as `palisade`.
    pub tools: Vec<(String, PathBuf)>,
    /// The way in which workloads will come into the sandbox: noted in the world, for the catalogue.
    pub entry: Entry,
    /// Whether the policy lays an overlay over the workspace: an ordinary user's cannot have mounts below it.
    pub overlay: bool,
    /// Whether the lab's network has what links of sandboxes are made of: forwarding, and a wire to put one beside.
    pub links: bool,
    /// TCP and UDP ports at which the lab listens besides the usual ones.
    pub ports: BTreeSet<u16>,
}

/// A running lab. It ends with the process: the kernel takes the namespaces down.
#[derive(Debug)]
pub struct Lab {
    world: World,
    canary: Canary,
    decoy: Child,
    leaks: Vec<OwnedFd>,
    /// Guards the moment in which the leaks are not close-on-exec, and that in which programs are written.
    spawning: Mutex<()>,
    /// The masters of the pseudo-terminals.
    _terminals: Vec<OwnedFd>,
}

/// Builds the lab around the calling process, which must be the suite stage (see [`super::enter`]), with one thread.
///
/// The guard comes first. Afterwards the process has a canary thread, keeps its capabilities over the lab, and everything that
/// it starts begins without any, unless root runs it.
///
/// # Errors
/// [`LabError::NotIsolated`] outside of a lab; the first step that failed otherwise. What a host merely lacks is no
/// error: it is noted in the world as [`Presence::Absent`].
pub fn build(options: &LabOptions) -> Result<Lab, LabError> {
    let isolated = assert_isolated()?;
    let lowest = leaks::reserve().during(|| "reserve a descriptor".to_owned())?;
    caps::lose_over_exec().during(|| "drop ambient capabilities".to_owned())?;
    let mut world = World::layout(caller(isolated), &Mint::new(random_word()?));
    world.namespaces = isolated.namespaces();
    world.entry = options.entry;
    world.listen_at(&options.ports);

    network::set_up(options.links)?;
    rustix::system::sethostname(world.hostname.as_bytes()).during(|| "sethostname".to_owned())?;
    rustix::system::setdomainname(world.domainname.as_bytes()).during(|| "setdomainname".to_owned())?;
    join_groups(&mut world)?;
    let carried = take_tools(options)?;
    world.system_writes = seal::seal(world.system_writes)?;
    let covered = mounts::cover()?;
    note_absences(&mut world, &covered);
    if options.overlay && world.rootless {
        let why = "an ordinary user's overlay cannot have mounts below it";
        world.submounts = Presence::Absent(why.to_owned());
    }
    scene::lay_out(&mut world, &covered)?;
    for (name, file) in carried {
        let path = world.base.join("tools").join(&name);
        file.put(&path)?;
        world.tools.push(Tool { name, path });
    }
    // Before any thread exists: see there. The decoy after it, so that it has the keyring too.
    objects::make_keyring(&mut world);
    objects::make_ipc(&mut world);
    let terminals = terminals(&mut world);
    let sockets = sockets(&mut world)?;
    let decoy = decoy::start(&mut world)?;
    let canary = Canary::start(sockets).during(|| "start the canary".to_owned())?;
    let leaks = leaks::open(&mut world, terminals.last(), lowest)?;
    Ok(Lab { world, canary, decoy, leaks, spawning: Mutex::new(()), _terminals: terminals })
}

fn caller(isolated: Isolated) -> Caller {
    Caller {
        rootless: isolated.rootless(),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    }
}

/// Joins the groups of the world, for this thread: there is no other yet, and those to come begin with them. A root
/// without CAP_SETGID stays as he is.
fn join_groups(world: &mut World) -> Result<(), LabError> {
    if world.groups.is_empty() {
        return Ok(());
    }
    let groups: Vec<_> = world.groups.iter().map(|&group| rustix::process::Gid::from_raw(group)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        Err(rustix::io::Errno::PERM) => {
            world.groups.clear();
            Ok(())
        }
        other => other.during(|| "setgroups".to_owned()),
    }
}

fn random_word() -> Result<String, LabError> {
    let mut bytes = [0; 8];
    let mut source = fs::File::open("/dev/urandom").during(|| "open /dev/urandom".to_owned())?;
    source.read_exact(&mut bytes).during(|| "read /dev/urandom".to_owned())?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

fn take_tools(options: &LabOptions) -> Result<Vec<(String, mounts::Carried)>, LabError> {
    let own = (OWN_NAME.to_owned(), own_executable());
    let wanted = options.tools.iter().filter(|(name, _)| name != OWN_NAME).cloned();
    std::iter::once(own).chain(wanted).map(|(name, path)| Ok((name, mounts::take(&path)?))).collect()
}

/// Under this name the suite's own executable is among the tools.
const OWN_NAME: &str = "palisade";

/// The path of this program where that path still leads to it; else the kernel's link, which can only be copied from.
fn own_executable() -> PathBuf {
    use std::os::unix::fs::MetadataExt;
    let link = PathBuf::from("/proc/self/exe");
    let identity = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    match fs::read_link(&link) {
        Ok(path) if identity(&path).is_some() && identity(&path) == identity(&link) => path,
        _ => link,
    }
}

fn note_absences(world: &mut World, covered: &Covered) {
    for (path, why) in &covered.absent {
        if *path == "/dev/pts" {
            world.pty_presence = Presence::Absent(why.clone());
        }
    }
}

fn sockets(world: &mut World) -> Result<Sockets, LabError> {
    let mut sockets = Sockets::default();
    sockets.open_inet(world).map_err(|(what, e)| LabError::step(what, e))?;
    for service in world.services.iter_mut().filter(|s| s.presence.is_planted()) {
        if let Err(e) = sockets.open_unix(&service.endpoint, service.proto) {
            service.presence = Presence::Absent(format!("listen on {}: {e}", service.endpoint));
        }
    }
    Ok(sockets)
}

/// How many pseudo-terminals the lab has, so that the number of the last is none that a sandbox gives its own.
const TERMINALS: usize = 8;

/// Opens pseudo-terminals of the lab's own devpts and keeps their masters; the world names the last.
fn terminals(world: &mut World) -> Vec<OwnedFd> {
    if !world.pty_presence.is_planted() {
        return Vec::new();
    }
    let open = || -> io::Result<(OwnedFd, PathBuf)> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        Ok((master, PathBuf::from(name.to_string_lossy().into_owned())))
    };
    match (0..TERMINALS).map(|_| open()).collect::<io::Result<Vec<_>>>() {
        Ok(made) => {
            if let Some((_, path)) = made.last() {
                world.pty.clone_from(path);
            }
            made.into_iter().map(|(master, _)| master).collect()
        }
        Err(e) => {
            world.pty_presence = Presence::Absent(format!("open a pseudo-terminal: {e}"));
            Vec::new()
        }
    }
}

impl Lab {
    /// What there is.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The listeners.
    pub fn canary(&self) -> &Canary {
        &self.canary
    }

    /// Starts a command that inherits no more than its standard descriptors. Use this, or
    /// [`Lab::spawn_with_leaks`], for everything that is started while the lab runs: a start of another kind may come at
    /// the moment when the leaks are open.
    ///
    /// # Errors
    /// As [`Command::spawn`].
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let _alone = self.not_spawning();
        command.spawn()
    }

    /// Starts a command that also inherits [`World::leaks`].
    ///
    /// # Errors
    /// As [`Command::spawn`].
    pub fn spawn_with_leaks(&self, command: &mut Command) -> io::Result<Child> {
        let _alone = self.not_spawning();
        let all = |flags: FdFlags| self.leaks.iter().try_for_each(|fd| fcntl_setfd(fd, flags));
        all(FdFlags::empty())?;
        let child = command.spawn();
        all(FdFlags::CLOEXEC)?;
        child
    }

    /// Keeps every thread from starting a process. Between its fork and its exec a process has all descriptors open: with
    /// one of a program that is just being written, that program could not be executed (ETXTBSY).
    fn not_spawning(&self) -> MutexGuard<'_, ()> {
        self.spawning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A whole new workspace in `World::cases`, with the same content and markers as [`World::work`].
    ///
    /// # Errors
    /// When the directory exists already or the lab's tmpfs is full.
    pub fn workspace(&self, name: &str) -> Result<Workspace, LabError> {
        let _alone = self.not_spawning();
        let dir = self.world.cases.join(name);
        fs::create_dir(&dir).during(|| format!("create {}", dir.display()))?;
        let work = Workspace::at(&dir, &Mint::new(self.world.run.clone()));
        scene::workspace(&work, &self.world.secret("outside-readable").path, &self.world.submounts)?;
        Ok(work)
    }

    /// Takes a workspace of [`Lab::workspace`] away again, with whatever a workload left in it.
    ///
    /// # Errors
    /// When something in it cannot be removed: a mount, most likely.
    pub fn discard(&self, work: &Workspace) -> Result<(), LabError> {
        for mount in work.twice.iter().map(|(_, place)| place).chain([&work.submount]) {
            mounts::unmount_now(mount)?;
        }
        fs::remove_dir_all(&work.dir).during(|| format!("remove {}", work.dir.display()))
    }

    /// Writes the plain files of a workspace anew.
    ///
    /// # Errors
    /// When one cannot be replaced.
    pub fn refresh(&self, work: &Workspace) -> Result<(), LabError> {
        let _alone = self.not_spawning();
        scene::refresh(work)
    }

    /// Mounts a tmpfs with one file on a directory of the lab, while sandboxes run: does it appear in them? The file holds
    /// `marker`.
    ///
    /// # Errors
    /// When the mount or the file cannot be made.
    pub fn plant_mount(&self, target: &Path, marker: &str) -> Result<PlantedMount, LabError> {
        PlantedMount::on(target, marker)
    }

    /// True while the decoy process lives.
    pub fn decoy_alive(&mut self) -> bool {
        matches!(self.decoy.try_wait(), Ok(None))
    }

    /// The text that a secret's file now holds, for probes that try to write.
    ///
    /// # Errors
    /// As [`fs::read_to_string`].
    pub fn read_secret(&self, id: &str) -> io::Result<String> {
        fs::read_to_string(&self.world.secret(id).path)
    }

    /// True when every listener that the world calls planted answers, each visited once: every port of one address of each
    /// family, and every Unix service. The names of those that do not.
    pub fn dead_listeners(&self) -> Vec<String> {
        use super::canary::Proto::{Tcp, Udp, UdpLite};
        use std::net::{IpAddr, SocketAddr};
        let mut addresses: Vec<IpAddr> = vec![[169, 254, 169, 254].into()];
        if self.world.ipv6.is_planted() {
            addresses.push([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254].into());
        }
        let mut all = Vec::new();
        for &address in &addresses {
            let at = |port: u16| Endpoint::Inet(SocketAddr::new(address, port));
            all.extend(self.world.tcp_ports.iter().map(|&p| (at(p), Tcp)));
            all.extend(self.world.udp_ports.iter().map(|&p| (at(p), Udp)));
            if self.world.udplite.is_planted() {
                all.extend(self.world.udp_ports.iter().map(|&p| (at(p), UdpLite)));
            }
        }
        let planted = self.world.services.iter().filter(|s| s.presence.is_planted());
        all.extend(planted.map(|s| (s.endpoint.clone(), s.proto)));
        all.retain(|(endpoint, proto)| !self.canary.alive_at(endpoint, *proto));
        all.iter().map(|(endpoint, proto)| format!("{proto:?} {endpoint}")).collect()
    }
}

/// The arguments for [`super::enter`]: those of this process without its name, with `mark` put first, by which the
/// caller's own parser knows the inner stage.
pub fn inner_arguments(mark: &str) -> Vec<OsString> {
    let own = std::env::args_os().skip(1);
    std::iter::once(OsString::from(mark)).chain(own).collect()
}
