//! Against this machine's own hierarchies where the tests run as root, and against a directory that stands in for one.

use super::*;

fn controllers(list: &[Controller]) -> BTreeSet<Controller> {
    list.iter().copied().collect()
}

fn place(mount_point: &Path, own: Option<&Path>, mounted: Mounted) -> Place {
    Place { mounted, mount_point: mount_point.to_path_buf(), own: own.map(Path::to_path_buf) }
}

/// mkdir succeeds in any directory: only a real hierarchy may count.
#[test]
fn a_directory_that_is_no_hierarchy_is_not_written_to() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let place = place(
        directory.path(),
        Some(directory.path()),
        Mounted::V1(controllers(&[Controller::Pids, Controller::Memory])),
    );
    let [found] = <[_; 1]>::try_from(survey(&[place], &controllers(&[Controller::Pids]))).expect("one");
    assert_eq!(found.ability, Ability::Unavailable("something else is mounted over it".into()));
    assert_eq!(found.controllers, controllers(&[Controller::Pids]));
    assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
}

#[test]
fn the_groups_above_the_own_one_are_tried_in_version_2_only() {
    let (top, own) = (Path::new("/x/cgroup"), Path::new("/x/cgroup/a/b"));
    let unified = parents(&place(top, Some(own), Mounted::V2));
    assert_eq!(unified, ["/x/cgroup/a/b", "/x/cgroup/a", "/x/cgroup"].map(PathBuf::from));
    let v1 = parents(&place(top, Some(own), Mounted::V1(controllers(&[Controller::Pids]))));
    assert_eq!(v1, ["/x/cgroup/a/b"].map(PathBuf::from));
    assert_eq!(parents(&place(top, None, Mounted::V2)), ["/x/cgroup"].map(PathBuf::from));
}

#[test]
fn nothing_that_is_not_needed_is_tried() {
    assert_eq!(hierarchies(&BTreeSet::new()), []);
}

/// Whatever this machine has: what is called available has the files, and nothing stays behind.
#[test]
fn this_machine_is_left_as_it_was() {
    for hierarchy in hierarchies(&Controller::ALL.into()) {
        let left = fs::read_dir(&hierarchy.parent).into_iter().flatten().flatten();
        let own = format!("palisade-trial-{}-", std::process::id());
        let left: Vec<_> =
            left.filter(|entry| entry.file_name().to_string_lossy().starts_with(&own)).collect();
        assert!(left.is_empty(), "{left:?}");
        match &hierarchy.ability {
            Ability::Available => assert!(!hierarchy.controllers.is_empty(), "{hierarchy:?}"),
            Ability::Unavailable(reason) => assert!(!reason.is_empty(), "{hierarchy:?}"),
        }
    }
}
