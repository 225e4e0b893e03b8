"""Goal 6: what a sandbox that only waits costs: memory of its supervisor, and time of an idle gateway."""

import os
import time

from starts import NETWORK, POLICY, running
from stats import Failed

SECONDS = 5


def status(pid, key):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key))


def rollup(pid):
    """KiB by kind (proc_pid_smaps_rollup(5)): shared with other processes, private, and the proportional share."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        of = {line.split(":")[0]: int(line.split()[1]) for line in file if line.rstrip().endswith("kB")}
    return {"private": of["Private_Clean"] + of["Private_Dirty"], "shared": of["Shared_Clean"] + of["Shared_Dirty"], "pss": of["Pss"]}


def children(pid):
    below = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            below += map(int, file.read().split())
    return below


def ticks(pid):
    with open(f"/proc/{pid}/stat") as file:
        return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))


def measure(bench, _goals):
    allow = bench.file("allow.yaml", POLICY + NETWORK)
    found = {}
    for name, flags, bound in ("no gateway", [], 3), ("gateway", ["--policy", allow], 8):
        with running(bench, *flags) as (_, pid):
            # What the entry of the first command took is over.
            time.sleep(0.5)
            resident = status(pid, "VmRSS") / 1024
            found[f"{name}: supervisor resident, MiB"] = [resident]
            # Of the supervisor by whoever may look; its own first process gives its dumpability away.
            try:
                parts = rollup(pid)
                found |= {f"{name}: supervisor {kind}, MiB": [size / 1024] for kind, size in parts.items()}
            except (OSError, KeyError) as error:
                bench.notes.append(f"{name}: smaps_rollup: {error}")
            for child in children(pid):
                try:
                    found[f"{name}: first process inside resident, MiB"] = [status(child, "VmRSS") / 1024]
                except StopIteration:
                    raise Failed(f"{name}: process {child} has no memory") from None
            bench.judge(6, f"supervisor resident, {name}", resident, bound, " MiB", strict=True)
            if name == "gateway":
                before = ticks(pid)
                time.sleep(SECONDS)
                used = (ticks(pid) - before) / os.sysconf("SC_CLK_TCK") / SECONDS
                found["idle gateway, share of a processor"] = [used]
                bench.judge(6, "idle gateway, share of a processor", used, 0, note=f"in {SECONDS} s, by ticks of the clock")
    bench.keep("memory and idle time", found)
