//! What of the host's files a policy shows, for runtimes that mount directories one by one into a root of the run's own.

use std::path::{Path, PathBuf};

use palisade_policy::{Access, Base, Policy, ResolvedRule, ResolvedRules};

use super::{Case, Inexpressible, Item, etc};

/// A directory or file of the host, shown where it is.
#[derive(Clone, Debug)]
pub(super) struct Bind {
    pub(super) path: PathBuf,
    pub(super) writable: bool,
    pub(super) executable: bool,
}

/// What is shown of the host.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// What is shown, and directories that are empty because something is shown below them ([`Shown::Empty`]): what is deeper later.
    pub(super) shown: Vec<Shown>,
    /// What is hidden otherwise.
    pub(super) hidden: Vec<PathBuf>,
    /// Whether nothing in /tmp is executed.
    pub(super) no_execute_tmp: bool,
}

/// One mount of a view.
#[derive(Clone, Debug)]
pub(super) enum Shown {
    /// Something of the host.
    Host(Bind),
    /// An empty directory over one of the host.
    Empty(PathBuf),
}

impl Shown {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Host(bind) => &bind.path,
            Self::Empty(path) => path,
        }
    }
}

/// What programs need of /etc, as far as this host has it.
pub(super) fn etc() -> Vec<PathBuf> {
    etc::OF_HOST.iter().map(PathBuf::from).filter(|path| path.exists()).collect()
}

impl View {
    /// What a policy shows for a case; `etc` is what it shows of /etc where the base is the host.
    pub(super) fn of(policy: &Policy, case: Case<'_>, etc: &[PathBuf]) -> Result<Self, Inexpressible> {
        let resolved = policy.filesystem.resolve(case.cwd).map_err(|errors| Inexpressible {
            clause: "filesystem".to_owned(),
            why: errors.first().map(ToString::to_string).unwrap_or_default(),
        })?;
        let mut view = Self::default();
        let mut binds: Vec<Bind> = Vec::new();
        let mut show = |path: &Path, writable: bool, executable: bool| {
            // A rule about what the base shows comes in its place.
            binds.retain(|bind| bind.path != path);
            binds.push(Bind { path: path.to_owned(), writable, executable });
        };
        if policy.filesystem.base == Base::Host {
            show(Path::new("/usr"), false, true);
            etc.iter().for_each(|path| show(path, false, false));
        }
        for rule in resolved.rules() {
            let path = &rule.entry.path;
            match rule.access {
                Access::Hidden if shows_below(&resolved, path) => view.shown.push(Shown::Empty(path.clone())),
                Access::Hidden => view.hidden.push(path.clone()),
                _ if rule.entry.optional && !path.exists() => {}
                access => show(path, access == Access::ReadWrite, true),
            }
        }
        for entry in resolved.no_execute() {
            let path = &entry.path;
            if path == Path::new("/tmp") {
                view.no_execute_tmp = true;
                continue;
            }
            // A part of something that is shown is mounted on itself.
            let whole = binds.iter().rfind(|bind| path.starts_with(&bind.path));
            let Some(writable) = whole.map(|bind| bind.writable).filter(|_| path.exists()) else { continue };
            binds.retain(|bind| bind.path != *path);
            binds.push(Bind { path: path.clone(), writable, executable: false });
        }
        view.shown.extend(binds.into_iter().map(Shown::Host));
        view.shown.sort_by_key(|shown| shown.path().components().count());
        Ok(view)
    }

    /// What has to be in `root` for that: links and an `/etc` where the base is the host, places to mount on.
    pub(super) fn places(&self, policy: &Policy, case: Case<'_>, root: &Path) -> Vec<Item> {
        let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        let own = ["/proc", "/dev", "/tmp", "/var"];
        let mut places: Vec<Item> = own.iter().map(|path| Item::Directory(inside(Path::new(path)))).collect();
        places.push(Item::Directory(inside(case.cwd)));
        if policy.filesystem.base == Base::Host {
            let links = LINKS.iter().map(|(path, target)| Item::Link(inside(Path::new(path)), target.into()));
            places.extend(links);
            // As nobody else has them: see there.
            let files =
                etc::files(policy, Path::new("/")).into_iter().filter_map(|(item, _, path)| match item {
                    Item::File(_, text) => Some(Item::File(inside(&path), text)),
                    _ => None,
                });
            places.push(Item::File(inside(Path::new("/etc/hostname")), b"palisade\n".to_vec()));
            places.extend(files);
        }
        places.extend(self.shown.iter().map(|shown| match shown.path() {
            path if path.is_file() => Item::File(inside(path), Vec::new()),
            path => Item::Directory(inside(path)),
        }));
        places
    }
}

/// The links of a host to /usr.
const LINKS: &[(&str, &str)] = &[
    ("/bin", "usr/bin"),
    ("/lib", "usr/lib"),
    ("/lib64", "usr/lib64"),
    ("/sbin", "usr/sbin"),
    ("/var/tmp", "/tmp"),
];

/// Whether a rule shows something below this path.
fn shows_below(rules: &ResolvedRules, path: &Path) -> bool {
    let shows = |rule: &ResolvedRule| rule.access != Access::Hidden && rule.entry.path.starts_with(path);
    rules.rules().iter().any(shows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(text: &str) -> (Vec<String>, View) {
        let policy = palisade_policy::Document::parse("test.yaml", text).expect("a policy").policy;
        let nothing = Path::new("/nonexistent");
        let case = Case {
            argv: &[],
            cwd: Path::new("/work"),
            wall_time: None,
            probe: nothing,
            id: "",
            scratch: nothing,
            root: false,
        };
        let view = View::of(&policy, case, &["/etc/ssl/certs".into()]).expect("expressible");
        let words = |shown: &Shown| match shown {
            Shown::Empty(path) => format!("empty {}", path.display()),
            Shown::Host(Bind { path, writable, executable }) => {
                let (w, x) = (if *writable { "w" } else { "-" }, if *executable { "x" } else { "-" });
                format!("{w}{x} {}", path.display())
            }
        };
        (view.shown.iter().map(words).collect(), view)
    }

    #[test]
    fn the_base_and_what_is_hidden() {
        let (shown, view) = view(
            "version: 1\nfilesystem:\n  read_write: [.]\n  hidden: [.env, private]\n  read_only: [private/key]\n",
        );
        let expected =
            ["-x /usr", "wx /work", "empty /work/private", "-- /etc/ssl/certs", "-x /work/private/key"];
        assert_eq!(shown, expected);
        assert_eq!(view.hidden, [PathBuf::from("/work/.env")]);
    }

    #[test]
    fn nothing_is_executed_in_a_part_of_what_is_shown() {
        let (shown, view) = view(
            "version: 1\nfilesystem:\n  read_only: [/usr]\n  no_execute: [/tmp, /usr/share, /elsewhere]\n",
        );
        assert_eq!(shown, ["-x /usr", "-- /usr/share", "-- /etc/ssl/certs"]);
        assert!(view.no_execute_tmp);
    }
}
