"""What every goal needs: where things are, how many rounds, and what is said at the end."""

import dataclasses
import os
import platform
import shutil
import subprocess

from spawn import Subject


@dataclasses.dataclass
class Verdict:
    """One thing that was asked for, and what was measured."""

    goal: int
    what: str
    value: float
    bound: float
    unit: str = ""
    at_least: bool = False
    strict: bool = False
    # What was compared, or how far the value can be trusted.
    note: str = ""
    # What repeats leave no doubt of, where the bound is so close that chance decides otherwise.
    surely: float | None = None

    @property
    def met(self):
        value = self.value if self.surely is None else self.surely
        if value == self.bound:
            return not self.strict
        return (value > self.bound) == self.at_least

    @property
    def asked(self):
        words = {(False, False): "at most", (False, True): "below", (True, False): "at least", (True, True): "above"}
        return f"{words[self.at_least, self.strict]} {self.bound:g}{self.unit}"

    def as_json(self):
        return {**dataclasses.asdict(self), "asked": self.asked, "met": self.met}


class Bench:
    """One run of everything, as one user."""

    def __init__(self, place, scratch, rounds, quick, network):
        self.place, self.scratch, self.rounds, self.quick, self.network = place, scratch, rounds, quick, network
        self.palisade = f"{place}/palisade"
        self.who = "root" if os.geteuid() == 0 else "user"
        self.work = self.made("work")
        self.verdicts, self.notes, self.remove = [], [], []
        self.values, self.growth, self.absent, self.failed = {}, {}, {}, {}

    def made(self, name):
        path = f"{self.scratch}/{name}"
        os.makedirs(path, mode=0o755, exist_ok=True)
        return path

    def file(self, name, text):
        path = f"{self.scratch}/{name}"
        with open(path, "w") as file:
            file.write(text)
        return path

    def has(self, program):
        """Whether a program that was built for this is here."""
        return os.access(f"{self.place}/{program}", os.X_OK)

    def run_subject(self, name, *flags, command=("/bin/true",), cwd=None):
        return Subject(name, [self.palisade, "run", *flags, "--", *command], cwd or self.work)

    def judge(self, *words, **more):
        self.verdicts.append(Verdict(*words, **more))

    def keep(self, name, values):
        """Values by subject, for the JSON."""
        self.values[name] = values

    def few(self, normal, quick):
        return quick if self.quick else normal


def first_line(*command):
    if not shutil.which(command[0]):
        return None
    said = subprocess.run(command, capture_output=True, text=True, errors="replace")
    lines = (said.stdout + said.stderr).splitlines()
    return lines[0].strip() if lines else None


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def machine(bench):
    """What the figures are of."""
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) >> 10
    return {
        "as": bench.who, "kernel": platform.release(), "architecture": platform.machine(), "processor": processor(),
        "cores": os.cpu_count(), "memory_mib": memory, "load": round(os.getloadavg()[0], 2),
        "palisade": first_line(bench.palisade, "--version"), "cc": first_line("cc", "--version"), "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(), "strace": first_line("strace", "--version"),
        "valgrind": first_line("valgrind", "--version"),
    }


def no_uplink():
    """Whether this is a network that leads nowhere."""
    try:
        with open("/proc/net/dev") as file:
            names = {line.split(":")[0].strip() for line in file if ":" in line}
        with open("/proc/net/route") as file:
            routes = file.read().splitlines()[1:]
        return names == {"lo"} and not routes
    except OSError:
        return False
