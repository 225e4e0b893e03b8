"""Times of whole processes, by spawn.c: Python's own are too noisy."""

import dataclasses
import os
import random
import subprocess

from stats import Failed


@dataclasses.dataclass
class Subject:
    """A command that is run again and again."""

    name: str
    argv: list
    cwd: str
    env: dict = dataclasses.field(default_factory=dict)

    def table(self):
        env = [f"{name}={value}" for name, value in {**os.environ, **self.env}.items()]
        words = [self.cwd, str(len(env)), *env, str(len(self.argv)), *self.argv]
        return b"".join(os.fsencode(word) + b"\0" for word in words)

    def once(self):
        """One run with its output: for the reason where it does not do. The last line that it says, or nothing."""
        ended = subprocess.run(self.argv, cwd=self.cwd, env={**os.environ, **self.env}, stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, errors="replace")
        if ended.returncode == 0:
            return None
        lines = [line for line in ended.stderr.splitlines() if line.strip()] or ["it says nothing"]
        return f"status {ended.returncode}: {lines[-1]}"


class Spawner:
    """The timer, with its subjects by name."""

    def __init__(self, place, scratch, subjects):
        self.subjects = list(subjects)
        table = f"{scratch}/spawn-{id(self)}"
        with open(table, "wb") as file:
            file.write(b"".join(subject.table() for subject in self.subjects))
        self.process = subprocess.Popen([f"{place}/spawn", table], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.numbers = {subject.name: number for number, subject in enumerate(self.subjects)}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def ask(self, name, *words):
        self.process.stdin.write(" ".join(map(str, (self.numbers[name], *words))) + "\n")
        answer = self.process.stdout.readline().split()
        if len(answer) != 2:
            raise Failed(f"{name}: the timer ended")
        return int(answer[0]), int(answer[1])

    def run(self, name, codes=(0,)):
        """Milliseconds of one run, which has to end with one of these exit statuses."""
        nanoseconds, status = self.ask(name)
        if status not in [code << 8 for code in codes]:
            raise Failed(f"{name}: wait status {status:#x}: {self.subjects[self.numbers[name]].once()}")
        return nanoseconds / 1e6

    def rate(self, name, count, workers):
        """Runs a second, at most `workers` at a time."""
        nanoseconds, failed = self.ask(name, count, workers)
        if failed:
            raise Failed(f"{name}: {failed} of {count} runs failed with {workers} at a time: {self.subjects[self.numbers[name]].once()}")
        return count / (nanoseconds / 1e9)


def interleaved(names, rounds, measure, seed=7, share=None):
    """`measure(name)` for every name in every round, in an order that is another in each: lists of values, by name.

    `share` gives for a name how many rounds there are to one in which it takes part, for what takes very long.
    """
    order, found = random.Random(seed), {name: [] for name in names}
    for turn in range(rounds):
        taking = [name for name in names if share is None or turn % share(name) == 0]
        order.shuffle(taking)
        for name in taking:
            found[name].append(measure(name))
    return found
