"""The floor: from a plan to a C program that does its steps as raw system calls, and nothing besides.

It follows the plan, so that it always does what the sandbox that it is compared with does. A step that it does not know is an error.
"""

import json
import os
import subprocess

from stats import Failed

HERE = os.path.dirname(os.path.abspath(__file__))

# clone(2), sched.h.
NAMESPACES = {"user": "CLONE_NEWUSER", "mount": "CLONE_NEWNS", "pid": "CLONE_NEWPID", "network": "CLONE_NEWNET",
              "ipc": "CLONE_NEWIPC", "uts": "CLONE_NEWUTS", "cgroup": "CLONE_NEWCGROUP"}
LIMITS = {"processes": "RLIMIT_NPROC", "open_files": "RLIMIT_NOFILE", "file_size": "RLIMIT_FSIZE", "core": "RLIMIT_CORE",
          "cpu_time": "RLIMIT_CPU", "address_space": "RLIMIT_AS"}

# landlock(7): rights of directories and files, and the ABI since which each is there.
READ = 1 | 1 << 2 | 1 << 3
CHANGE = sum(1 << bit for bit in (1, 4, 5, 7, 8, 9, 10, 12, 13, 14, 16))
RIGHTS = {"read": READ, "write": READ | CHANGE, "device": 1 << 1 | 1 << 2,
          "terminal": 1 << 1 | 1 << 2 | 1 << 3 | 1 << 14 | 1 << 15}
SINCE = {13: 2, 14: 3, 15: 5, 16: 9}
FILE = sum(1 << bit for bit in (0, 1, 2, 14, 15, 16))


class Unknown(Exception):
    """The plan has a step that the floor does not know."""


def quoted(text):
    """A string of C: all that is not plain in octal, so that no letter after it can belong to it."""
    plain = lambda byte: chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
    return '"' + "".join(map(plain, text.encode())) + '"'


def relative(path):
    """A path of the new root, in which the steps are done."""
    return quoted(path.lstrip("/") or ".")


def attributes(of):
    """mount_setattr(2) and mount(2) have the same numbers for these."""
    flags = [(of["read_only"], "ATTR_RDONLY"), (of["nosuid"], "ATTR_NOSUID"), (of["nodev"], "ATTR_NODEV"), (of["noexec"], "ATTR_NOEXEC")]
    return " | ".join(name for on, name in flags if on) or "0"


def handled(abi):
    every = (1 << 17) - 1
    return every & ~sum(1 << bit for bit, since in SINCE.items() if abi < since)


def landlock(step):
    abi = step["abi"]
    # struct landlock_ruleset_attr as each ABI knows it: file system, since 4 network, since 6 scopes.
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    yield f"int ruleset = landlock({handled(abi):#x}, {3 if abi >= 6 else 0}, {size});"
    for rule in step["rules"]:
        path = rule["path"]
        rights = RIGHTS[rule["access"]] & handled(abi)
        if os.path.exists(path) and not os.path.isdir(path):
            rights &= FILE
        yield f"landlock_allow(ruleset, {quoted(path)}, {rights:#x});"
    yield "landlock_restrict(ruleset);"


def bind(step, before):
    source, path = quoted(step["source"]), relative(step["path"])
    if "idmap" in step:
        ids = step["idmap"]["uid"]
        if step["idmap"]["gid"] != ids:
            raise Unknown("a mount of which users and groups are mapped differently")
        name = f"tree{len(before)}"
        before.append((name, f"idmapped({source}, \"{ids['inside']} {ids['outside']} 1\\n\")"))
        return f"attach_idmapped({name}, {path}, {attributes(step['attributes'])});"
    depth = "TREE_RECURSIVE" if step["recursive"] else "0"
    return f"bound({source}, {path}, {attributes(step['attributes'])}, {depth});"


def one(kind, step, before):
    """The lines of one step."""
    path = relative(step["path"]) if "path" in step else None
    match kind:
        case "new_namespaces" | "map_ids" | "wipe_arguments" | "private_mounts":
            # Elsewhere; the second last has nothing to wipe. What is new in a user namespace is a slave of the old, and the pivot
            # leaves nothing of it.
            return []
        case "close_descriptors":
            return [f"must(syscall(SYS_close_range, 3, ~0u, 4 /* CLOEXEC */));"]
        case "clear_groups":
            return ["must(syscall(SYS_setgroups, 0, 0));"]
        case "set_ids":
            return [f"must(syscall(SYS_setresgid, {step['gid']}, {step['gid']}, {step['gid']}));",
                    f"must(syscall(SYS_setresuid, {step['uid']}, {step['uid']}, {step['uid']}));"]
        case "set_hostname":
            return [f"must(sethostname({quoted(step['name'])}, {len(step['name'])}));", 'must(setdomainname("(none)", 6));']
        case "loopback_up":
            return ["loopback_up();"]
        case "new_root":
            return [f'mounted("tmpfs", "/proc", ATTR_NOSUID | ATTR_NODEV, "mode=0755,size={step["size"]}");', 'must(chdir("/proc"));']
        case "make_directory":
            return [f"directory({path}, {step['mode']:#o});".replace("0o", "0")]
        case "make_file":
            return [f"file({path}, {step['mode']:#o}, {quoted(step['content'])});".replace("0o", "0")]
        case "make_link":
            return [f"must(symlink({quoted(step['target'])}, {path}));"]
        case "mount_bind":
            return [bind(step, before)]
        case "mount_proc":
            return [f'mounted("proc", {path}, {attributes(step["attributes"])}, "");']
        case "mount_tmpfs":
            options = f"mode={step['mode']:o},size={step['size']},nr_inodes={step['inodes']}"
            return [f'mounted("tmpfs", {path}, {attributes(step["attributes"])}, "{options}");']
        case "mount_devpts":
            return [f'mounted("devpts", {path}, ATTR_NOSUID | ATTR_NOEXEC, "newinstance,ptmxmode=0666,mode=0620");']
        case "forbid_user_namespaces":
            return ['put("proc/sys/user/max_user_namespaces", "0");']
        case "mask_path":
            return [f"mask({path}, {int(os.path.isdir(step['path']))});"]
        case "seal_mount":
            # Before the pivot the root is the directory that this is in; after it, both are the same.
            return [f"attributes(AT_FDCWD, {path}, 0, ATTR_RDONLY, 0);"]
        case "pivot_root":
            return ["masked();", "pivot();"]
        case "limit":
            return [f"limit({LIMITS[step['resource']]}, {step['value']}u);"]
        case "new_session":
            return ["must(setsid());"]
        case "not_dumpable":
            return ["must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));"]
        case "drop_bounding_set" | "drop_capabilities":
            if step["keep"]:
                raise Unknown(f"{kind} that keeps something")
            return [f"{kind}();"]
        case "no_new_privileges":
            return ["must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));"]
        case "restrict_landlock":
            return list(landlock(step))
        case "install_seccomp":
            return ["seccomp(filter, sizeof filter / sizeof *filter);"]
    raise Unknown(kind)


def header(plan, filter_, workload):
    """The header that floor.c includes; `filter_` has the instructions of the plan's filter, `workload` is a command."""
    steps = [next(iter(planned["step"].items())) for planned in plan["steps"]]
    before, lines = [], []
    for kind, step in steps:
        lines += one(kind, step, before)
    by_kind = dict(steps)
    ids = by_kind["map_ids"]
    own = ids["uid"]["outside"] == os.geteuid() and os.geteuid() != 0
    flags = " | ".join(NAMESPACES[name] for name in by_kind["new_namespaces"]["namespaces"])
    text = lambda of: f"\"{of['inside']} {of['outside']} 1\\n\""
    strings = lambda words: "{" + "".join(f"{quoted(word)}, " for word in words) + "0}"
    return "\n".join([
        f"#define OWN_IDS {int(own)}", f"#define NAMESPACES ({flags})",
        f"#define UID_MAP {text(ids['uid'])}", f"#define GID_MAP {text(ids['gid'])}",
        f"#define DIRECTORY {quoted(plan['directory'])}",
        f"static char *WORKLOAD[] = {strings(workload)};",
        f"static char *ENVIRONMENT[] = {strings(f'{name}={value}' for name, value in plan['environment'].items())};",
        "static const struct sock_filter filter[] = {", *filter_, "};",
        *(f"static int {name};" for name, _ in before),
        "static void before(void) {", *(f"    {name} = {make};" for name, make in before), "}",
        "static void steps(void) {", *(f"    {line}" for line in lines), "}", "",
    ])


# What a process sees of its sandbox: mounts with their flags, privileges, limits, names, environment.
LOOK = """
cut -d" " -f5,6 /proc/self/mountinfo | sort
grep -E "^(Uid|Gid|Groups|Cap|NoNew|Seccomp)" /proc/self/status
ulimit -a; hostname; env | sort; pwd
"""


def check(place, scratch, policy, directory):
    """Fails where the floor is not the same sandbox: it would be compared with something else."""
    look = ["/bin/sh", "-c", LOOK]
    seen = lambda command: subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout.splitlines()
    ours = seen([f"{place}/palisade", "run", "--policy", policy, "--", *look])
    floors = seen([build(place, scratch, "floor-look", policy, directory, look)])
    differing = set(ours) ^ set(floors)
    if differing or len(ours) < 20:
        raise Failed(f"the floor is another sandbox: {sorted(differing)[:3]}")


def build(place, scratch, name, policy, directory, workload=("/bin/true",)):
    """Compiles the floor of a policy for a run in `directory`: the path of the program."""
    said = subprocess.run([f"{place}/palisade", "plan", "--policy", policy, "--format", "json"], cwd=directory, check=True,
                          capture_output=True, text=True).stdout
    filter_ = subprocess.run([f"{place}/filter"], input=said, check=True, capture_output=True, text=True).stdout.splitlines()
    plan, program = f"{scratch}/{name}.h", f"{scratch}/{name}"
    with open(plan, "w") as file:
        file.write(header(json.loads(said), filter_, list(workload)))
    subprocess.run(["cc", "-O2", "-static", "-w", f"-DPLAN=\"{plan}\"", "-o", program, f"{HERE}/floor.c"], check=True)
    return program
