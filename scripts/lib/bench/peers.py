"""The sandboxes of others, each asked for the same policy as the suite's adapters ask it when they verify it."""

import json
import os
import subprocess
import tempfile

from bench import no_uplink
from spawn import Subject
from stats import Failed

# Why a runtime is measured but is not what ours has to be faster than.
NOT_COMPARABLE = {
    "none": "no sandbox",
    "unshare": "namespaces alone",
    "landrun": "Landlock alone",
    "systemd-run": "started by the service manager, which is not counted",
}
SANDBOXES = ["bubblewrap", "crun", "firejail", "hakoniwa", "minijail", "nsjail", "runc", "runsc", "systemd-nspawn"]
# Programs that do more than make sandboxes: only where nothing can leave the machine.
TALKATIVE = ["codex", "docker", "podman", "srt"]
# Why the suite has no adapter for it: it is named among the absent.
UNKNOWN = {"birdcage": "no adapter", "landstrip": "no adapter", "nono": "no adapter", "sandlock": "no adapter", "syd": "no adapter"}


class Peer(Subject):
    """A subject with what its runtime says about itself."""

    def __init__(self, said):
        super().__init__(said["name"], said["argv"], said["cwd"], said["env"])
        self.version, self.lacks = said["version"], said["lacks"]
        self.comparable = self.name not in NOT_COMPARABLE


def find(bench, policy="default", names=None):
    """Those that are here and do what is asked of them, and why the others are not: by name."""
    if not bench.has("invocations"):
        return [], {"others": "the program that asks them was not built"}
    wanted = names or [*NOT_COMPARABLE, *SANDBOXES, *TALKATIVE]
    absent = dict(UNKNOWN) if names is None else {}
    if not no_uplink():
        absent |= {name: "only where the network leads nowhere" for name in TALKATIVE if name in wanted}
        wanted = [name for name in wanted if name not in TALKATIVE]
    # Not below the directory for temporary files, where codex makes nothing; and others may search it, as some change their ids.
    scratch = tempfile.mkdtemp(prefix="palisade-bench-", dir="/var/tmp")
    bench.remove.append(scratch)
    os.chmod(scratch, 0o755)
    command = [f"{bench.place}/invocations", policy, scratch, ",".join(wanted), "/bin/true"]
    said = subprocess.run(command, cwd=bench.work, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if said.returncode:
        raise Failed(f"invocations: {said.stderr.strip()}")
    found = []
    for one in json.loads(said.stdout):
        if "absent" in one:
            absent[one["name"]] = one["absent"]
            continue
        peer = Peer(one)
        why = peer.once()
        if why:
            absent[peer.name] = f"{peer.version}: {why}"
        else:
            found.append(peer)
    return found, absent
