"""System calls between the exec of a runtime and the exec of its workload, of all of its processes."""

import os
import re
import shutil
import subprocess

from stats import Failed

# A call begins on such a line; signals, ends and the rest of interrupted calls do not.
CALL = re.compile(r"^\d+\s+(\w+)\(")


def count(bench, subject):
    """How many there are, and the most frequent ones."""
    trace = f"{bench.scratch}/trace"
    ended = subprocess.run(["strace", "-f", "-qq", "-o", trace, *subject.argv], cwd=subject.cwd, env={**os.environ, **subject.env},
                           stdin=subprocess.DEVNULL, capture_output=True)
    if ended.returncode:
        raise Failed(f"strace {subject.name}: status {ended.returncode}")
    with open(trace, errors="replace") as file:
        names = [call[1] for call in map(CALL.match, file) if call]
    # The last program that is executed is the workload. Of what is not dumpable a tracer without privileges reads no path.
    last = len(names) - 1 - names[::-1].index("execve")
    if last == 0:
        raise Failed(f"strace {subject.name}: it never executes the workload")
    names = names[:last]
    often = sorted(set(names), key=names.count, reverse=True)[:8]
    return len(names), ", ".join(f"{name} {names.count(name)}" for name in often)


def measure(bench, subjects):
    if not shutil.which("strace"):
        bench.absent["strace"] = "system calls are not counted"
        return
    found = {}
    for subject in subjects:
        try:
            calls, often = count(bench, subject)
        except Failed as failed:
            # setuid programs cannot be traced by those who are not root.
            bench.absent[f"system calls of {subject.name}"] = str(failed)
            continue
        found[subject.name] = [calls]
        if subject.name == "palisade":
            bench.notes.append(f"system calls of palisade up to the workload: {often}")
    bench.keep("system calls up to the workload", found)
