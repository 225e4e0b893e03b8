"""Goal 10: how the start grows: with the rules about paths, with what the network may reach, with the sandboxes that run meanwhile."""

import os
import subprocess

from spawn import Spawner, interleaved
from stats import Failed, slope

# A policy has at most 4,096 rules of all kinds together, and the directory of the run is one.
PATHS, ALLOWED = (1, 100, 1000, 4096), (1, 100, 1000, 4095)


def paths(bench, count):
    """A policy about so many directories, all of which are there; the one of the run is the first."""
    root = bench.made("many")
    entries = ["."]
    for number in range(1, count):
        entry = f"{root}/{number // 256}/{number}"
        os.makedirs(entry, exist_ok=True)
        entries.append(entry)
    return bench.file(f"paths-{count}.yaml", f"filesystem: {{read_only: [{', '.join(entries)}]}}\n")


def allowed(bench, count):
    """A policy of a network of so many destinations, addresses of documentation (RFC 5737, RFC 3849) and names of it (RFC 2606)."""
    rules = [f"{{cidr: '2001:db8::{number:x}/128', ports: [443]}}" if number % 2 else f"{{host: h{number}.example, ports: [443]}}"
             for number in range(count)]
    return bench.file(f"allow-{count}.yaml", "filesystem: {read_only: [.]}\nnetwork: {mode: allowlist, allow: [%s]}\n" % ", ".join(rules))


def series(bench, what, subjects, rounds):
    """Starts by how many there are of something."""
    with Spawner(bench.place, bench.scratch, subjects.values()) as spawner:
        for subject in spawner.subjects:
            spawner.run(subject.name)
        found = interleaved([subject.name for subject in spawner.subjects], rounds, spawner.run)
    told(bench, what, {count: found[subject.name] for count, subject in subjects.items()})


def told(bench, what, found):
    bench.keep(f"start with {what}, ms", {f"{count} {what}": values for count, values in found.items()})
    points = [(count, sorted(values)[len(values) // 2]) for count, values in found.items()]
    bench.growth[what] = points
    each = 1000 * slope(points)
    (first, low), *_, (before, middle), (last, high) = points
    bench.notes.append(f"start with {what}: {each:.2f} us more for each, {low:.1f} ms with {first} to {high:.1f} ms with {last}")
    # Beside the straight line through the first and the last but one: 1 is linear, a square 4.
    straight = max(low, low + (middle - low) * (last - first) / (before - first))
    bench.judge(10, f"{what}: start with the most, of linear growth", high / straight, 1.25, note=f"{each:.2f} us for each")


class Crowd:
    """Sandboxes that wait."""

    def __init__(self, bench):
        self.bench, self.processes = bench, []

    def grow(self, count):
        """Until there are so many."""
        new = []
        while len(self.processes) < count:
            new.append(subprocess.Popen([self.bench.palisade, "run", "--", "/bin/cat"], cwd=self.bench.work, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
            self.processes.append(new[-1])
        for process in new:
            # It answers when it runs.
            process.stdin.write(b"x\n")
            process.stdin.flush()
            if process.stdout.readline() != b"x\n":
                raise Failed(f"sandbox {self.processes.index(process) + 1} of {count} at the same time does not run")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.stdin.close()
        for process in self.processes:
            process.wait()
            process.stdout.close()


def concurrent(bench):
    """In sweeps, each from none to the most: what the hour does to the machine is in all of them."""
    counts = (0, 50, 250, 499) if not bench.quick else (0, 50, 99)
    found = {count + 1: [] for count in counts}
    with Spawner(bench.place, bench.scratch, [bench.run_subject("palisade")]) as spawner:
        spawner.run("palisade")
        for _ in range(bench.few(5, 3)):
            with Crowd(bench) as crowd:
                for count in counts:
                    crowd.grow(count)
                    found[count + 1] += [spawner.run("palisade") for _ in range(bench.few(9, 7))]
    told(bench, "sandboxes at once", found)


def measure(bench, _goals):
    rounds = bench.few(21, 7)
    # No policy is longer than it may be: what is too much for it is told as such by palisade.
    subject = lambda name, policy: bench.run_subject(name, "--policy", policy)
    series(bench, "path rules", {count: subject(f"{count} paths", paths(bench, count)) for count in PATHS}, rounds)
    series(bench, "allow rules", {count: subject(f"{count} rules", allowed(bench, count)) for count in ALLOWED}, rounds)
    concurrent(bench)
