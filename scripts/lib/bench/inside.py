"""Goal 5: what a workload pays inside: for a system call, for opening a file, for a compilation."""

import os
import shutil
import subprocess

import floor
from spawn import Spawner, Subject, interleaved
from stats import Failed, ratio

BARE, INSIDE = "bare", "palisade"
FILES = 8


def loop(bench, name, command):
    words = {BARE: command, INSIDE: [bench.palisade, "run", "--", *command]}.get(name) or [name]
    ended = subprocess.run(words, cwd=bench.work, capture_output=True, text=True)
    if ended.returncode:
        raise Failed(f"{name}: {' '.join(command)}: {ended.stderr.strip()}")
    return float(ended.stdout)


def project(directory):
    """A small project in C, of which each file takes about as long as one of a common program."""
    os.makedirs(f"{directory}/src")
    body = "\n".join(
        f"static int f{number}(int a, int b) {{ int s = 0; for (int i = 0; i < a; i++) s += (i * {number + 3}) ^ (b >> (i & 7)); "
        f"return s % {number + 7}; }}" for number in range(60))
    calls = " + ".join(f"f{number}(a, b)" for number in range(60))
    for number in range(FILES):
        with open(f"{directory}/src/part{number}.c", "w") as file:
            file.write(f"#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n{body}\nint part{number}(int a, int b) {{ return {calls}; }}\n")
    with open(f"{directory}/src/main.c", "w") as file:
        declared = "\n".join(f"int part{number}(int, int);" for number in range(FILES))
        summed = " + ".join(f"part{number}(argc, {number})" for number in range(FILES))
        file.write(f"{declared}\nint main(int argc, char **argv) {{ (void)argv; return ({summed}) == 12345; }}\n")
    with open(f"{directory}/build.sh", "w") as file:
        file.write("set -e\nfor part in src/*.c; do cc -O1 -c -o \"${part%.c}.o\" \"$part\"; done\ncc -o program src/*.o\n")


def loops(bench):
    shutil.copy(f"{bench.place}/loops", f"{bench.work}/loops")
    program, file = f"{bench.work}/loops", f"{bench.work}/file"
    with open(file, "w") as empty:
        empty.write("x")
    for name, bound, command in (
        ("getpid", 1.02, [program, "getpid", str(bench.few(2_000_000, 500_000))]),
        ("open and close", 1.1, [program, "open", str(bench.few(300_000, 80_000)), file]),
    ):
        # The kernel's own part: the same sandbox without us.
        kernel = floor.build(bench.place, bench.scratch, f"floor-{command[1]}", "default", bench.work, command)
        found = interleaved([BARE, INSIDE, kernel], bench.few(21, 7), lambda who: loop(bench, who, command))
        found["floor"] = found.pop(kernel)
        bench.keep(f"{name}, ns", found)
        bench.judge(5, f"{name}, of bare", ratio(found[INSIDE], found[BARE]), bound,
                    note=f"the floor: {ratio(found['floor'], found[BARE]):.2f}")


def measure(bench, _goals):
    loops(bench)
    directory = f"{bench.scratch}/project"
    project(directory)
    policy = bench.file("build.yaml", "filesystem: {read_write: [.]}\n")
    command = ["/bin/sh", "build.sh"]
    with Spawner(bench.place, bench.scratch, [
        Subject(BARE, command, directory),
        bench.run_subject(INSIDE, "--policy", policy, command=command, cwd=directory),
    ]) as spawner:
        for name in BARE, INSIDE:
            spawner.run(name)
        found = interleaved([BARE, INSIDE], bench.few(15, 3), spawner.run)
    bench.keep("compilation of a project in C, ms", found)
    bench.judge(5, "compilation of a project in C, of bare", ratio(found[INSIDE], found[BARE]), 1.03)
