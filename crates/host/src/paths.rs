//! What stands at the paths that a policy names.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use palisade_plan::facts::{Ability, Caller, Kind, Missing, PathFact, Present, Reached};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use crate::mounts::Mounts;
use crate::trial::IdMapTrial;

/// How many symbolic links the kernel follows in one path (`MAXSYMLINKS`, path_resolution(7)).
const MAX_LINKS: usize = 40;

/// What of mounts a policy needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) below: Option<&'a Mounts>,
    pub(crate) aliases: Option<&'a Mounts>,
}

pub(crate) fn fact(path: &Path, caller: &Caller, trial: &mut IdMapTrial, mounts: Wanted<'_>) -> PathFact {
    let mut walk = Walk::default();
    let end = walk.to(path);
    let Walk { reached, links, .. } = walk;
    match end {
        End::Found(metadata) => {
            let idmap = caller.privileged.then(|| trial.attempt(&reached, metadata.uid(), metadata.gid()));
            let below = mounts.below.map(|mounts| mounts.below(&reached)).unwrap_or_default();
            let aliases = mounts.aliases.map(|mounts| mounts.aliases(&reached)).unwrap_or_default();
            PathFact::Present(Present {
                kind: kind(&metadata),
                uid: metadata.uid(),
                gid: metadata.gid(),
                idmap,
                canonical: reached,
                links,
                mounts: below,
                aliases,
            })
        }
        End::Missing { errno, reached, rest } => {
            let writable = writable(&reached);
            let kind = fs::symlink_metadata(&reached).map_or(Kind::Special, |metadata| kind(&metadata));
            let aliases = mounts.aliases.map(|mounts| mounts.aliases(&reached)).unwrap_or_default();
            // What is mounted below has nothing to do with a path that does not exist.
            let aliases =
                aliases.into_iter().filter(|(_, alias)| alias.above == 0).map(|(place, _)| place).collect();
            let reached = Reached { path: reached, kind, rest, writable, aliases };
            PathFact::Missing(Missing { reason: reason(errno), reached: Some(reached), links })
        }
        End::Unknown(errno) => PathFact::Missing(Missing { reason: reason(errno), reached: None, links }),
    }
}

/// A walk along a path as the kernel does it (path_resolution(7)), which remembers the links.
#[derive(Default)]
struct Walk {
    /// As far as the walk has come, without symbolic links.
    reached: PathBuf,
    links: BTreeSet<PathBuf>,
    followed: usize,
}

enum End {
    Found(fs::Metadata),
    /// Nothing stands at `reached`/`rest`, and `reached` exists.
    Missing {
        errno: Errno,
        reached: PathBuf,
        rest: PathBuf,
    },
    /// How much of the path exists cannot be told.
    Unknown(Errno),
}

impl Walk {
    fn to(&mut self, path: &Path) -> End {
        self.reached = PathBuf::from("/");
        let mut names = names(path);
        while let Some(name) = names.pop_front() {
            if name == ".." {
                self.reached.pop();
                continue;
            }
            let next = self.reached.join(&name);
            let metadata = match fs::symlink_metadata(&next) {
                Ok(metadata) => metadata,
                Err(error) => return self.stopped(&error, name, names),
            };
            if !metadata.is_symlink() {
                self.reached = next;
                continue;
            }
            self.followed += 1;
            self.links.insert(next.clone());
            if self.followed > MAX_LINKS {
                // Nothing is reached as long as the links stay what they are.
                return End::Missing { errno: Errno::LOOP, reached: next, rest: PathBuf::new() };
            }
            let target = match fs::read_link(&next) {
                Ok(target) => target,
                Err(error) => return End::Unknown(errno(&error)),
            };
            if target.is_absolute() {
                self.reached = PathBuf::from("/");
            }
            for name in self::names(&target).into_iter().rev() {
                names.push_front(name);
            }
        }
        match fs::symlink_metadata(&self.reached) {
            Ok(metadata) => End::Found(metadata),
            Err(error) => End::Unknown(errno(&error)),
        }
    }

    fn stopped(&mut self, error: &io::Error, name: OsString, names: VecDeque<OsString>) -> End {
        let errno = errno(error);
        let rest: PathBuf = std::iter::once(name).chain(names).collect();
        let climbs = rest.components().any(|component| component == Component::ParentDir);
        match errno {
            // What `..` would lead to depends on what is made there.
            Errno::NOENT | Errno::NOTDIR if !climbs => {
                End::Missing { errno, reached: self.reached.clone(), rest }
            }
            _ => End::Unknown(errno),
        }
    }
}

/// The names of a path, `..` among them.
fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

/// Whether the caller may make files in `directory`, by the ids that it would make them with.
fn writable(directory: &Path) -> Ability {
    match accessat(CWD, directory, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => Ability::Available,
        Err(errno) => Ability::Unavailable(reason(errno)),
    }
}

pub(crate) fn kind(metadata: &fs::Metadata) -> Kind {
    if metadata.is_dir() {
        Kind::Directory
    } else if metadata.is_file() {
        Kind::File
    } else {
        Kind::Special
    }
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

fn reason(errno: Errno) -> String {
    match errno {
        Errno::NOENT => "no such file or directory".into(),
        Errno::NOTDIR => "a part of the path is not a directory".into(),
        Errno::ACCESS => "permission denied".into(),
        Errno::LOOP => "too many symbolic links".into(),
        Errno::ROFS => "read-only file system".into(),
        other => palisade_sys::Errno(other.raw_os_error()).to_string(),
    }
}
