"""Goals 1, 2 and 3: how long a start takes, whole processes, beside the floor and beside others."""

import contextlib
import os
import subprocess
import time

import floor
import peers
import syscalls
from spawn import Spawner, Subject, interleaved
from stats import Failed, ratio

# To an address of documentation (RFC 5737): nothing is ever sent.
NETWORK = "network: {mode: allowlist, allow: [{cidr: 203.0.113.10/32, ports: [443]}]}\n"
POLICY = "filesystem: {read_only: [.]}\n"

FLOOR, DEFAULT, YAML = "floor", "palisade", "palisade, policy of a file"
COUNTED = ["floor", "palisade", "palisade, allowlist", "bubblewrap", "crun", "hakoniwa", "nsjail", "minijail"]
ALLOWLIST, CLOSED, EXEC = "palisade, allowlist", "palisade, the same without network", "palisade exec"


@contextlib.contextmanager
def running(bench, *flags, command=("/bin/sleep", "100000")):
    """A named sandbox that runs meanwhile: its name, and the process of its supervisor."""
    name = f"bench-{os.getpid()}"
    process = subprocess.Popen([bench.palisade, "run", *flags, "--name", name, "--", *command], cwd=bench.work,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(200):
            if process.poll() is not None:
                raise Failed(f"palisade run --name: {process.stderr.read().strip()}")
            if subprocess.run([bench.palisade, "exec", name, "--", "/bin/true"], capture_output=True).returncode == 0:
                break
            time.sleep(0.02)
        else:
            raise Failed("palisade exec: the sandbox does not answer")
        yield name, process.pid
    finally:
        subprocess.run([bench.palisade, "stop", name], capture_output=True)
        process.kill()
        process.wait()


def own(bench, name):
    """Our subjects; the file of the default policy is the built-in one's."""
    allow = bench.file("allow.yaml", POLICY + NETWORK)
    closed = bench.file("closed.yaml", POLICY)
    return [
        Subject(FLOOR, [floor.build(bench.place, bench.scratch, "floor", "default", bench.work)], bench.work),
        bench.run_subject(DEFAULT),
        bench.run_subject(YAML, "--policy", f"{bench.place}/default.yaml"),
        bench.run_subject(ALLOWLIST, "--policy", allow),
        bench.run_subject(CLOSED, "--policy", closed),
        Subject(EXEC, [bench.palisade, "exec", name, "--", "/bin/true"], bench.work),
    ]


def measure(bench, goals):
    floor.check(bench.place, bench.scratch, "default", bench.work)
    others, absent = peers.find(bench)
    bench.absent |= absent
    with running(bench) as (name, _), Spawner(bench.place, bench.scratch, [*own(bench, name), *others]) as spawner:
        # Once for the caches, and to know what takes long: of that there are fewer runs, but never fewer than twenty.
        for subject in spawner.subjects:
            spawner.run(subject.name)
        once = {subject.name: min(spawner.run(subject.name) for _ in range(3)) for subject in spawner.subjects}
        most = max(1, bench.rounds // 20)
        share = lambda name: max(1, min(most, round(once[name] / once[FLOOR] / 8)))
        found = interleaved(list(once), bench.rounds, spawner.run, share=share)
        syscalls.measure(bench, [subject for subject in spawner.subjects if subject.name in COUNTED])
    bench.keep("start, ms", found)
    bench.keep("peers", {peer.name: {"version": peer.version, "command": peer.argv, "lacks": sorted(peer.lacks),
                                     "comparable": peers.NOT_COMPARABLE.get(peer.name, True)} for peer in others})
    if 1 in goals:
        first(bench, found, others)
    if 2 in goals:
        bench.judge(2, "start with an allowlist, of the same without network", ratio(found[ALLOWLIST], found[CLOSED]), 1.2)
    if 3 in goals:
        bench.judge(3, "exec into a running sandbox, of a cold start", ratio(found[EXEC], found[DEFAULT]), 0.6)


def first(bench, found, others):
    for name in DEFAULT, YAML:
        bench.judge(1, f"{name}: start, of the floor", ratio(found[name], found[FLOOR]), 1.25)
    comparable = [peer.name for peer in others if peer.comparable]
    if comparable:
        fastest = min(comparable, key=lambda name: ratio(found[name], found[FLOOR]))
        bench.judge(1, "start, of the fastest of others", ratio(found[DEFAULT], found[fastest]), 1, strict=True, note=fastest)
    if "bubblewrap" in comparable:
        bench.judge(1, "start, of bubblewrap's, with a clear margin", ratio(found[DEFAULT], found["bubblewrap"]), 0.9)
