"""Goal 8: a start through the library, from a process of one thread and from one of 64."""

import statistics
import subprocess

from spawn import interleaved
from stats import Failed, interval, ratio

ONE, MANY = "1 thread", "64 threads"


def measure(bench, _goals):
    if not bench.has("spawns"):
        raise Failed("the example `spawns` was not built")
    start = lambda threads: subprocess.Popen([f"{bench.place}/spawns", str(threads)], cwd=bench.work, stdin=subprocess.PIPE,
                                             stdout=subprocess.PIPE, text=True, bufsize=1)
    processes = {ONE: start(1), MANY: start(64)}

    def once(name, what):
        process = processes[name]
        process.stdin.write(f"{what}\n")
        answer = process.stdout.readline()
        if not answer:
            raise Failed(f"{name}: it ended")
        return int(answer) / 1e6

    try:
        longer = {}
        for what in "fork", "spawn", "spawn and wait":
            for name in processes:
                once(name, what)
            found = interleaved([ONE, MANY], bench.rounds, lambda name: once(name, what))
            bench.keep(f"library: {what}, ms", found)
            longer[what] = statistics.median(found[MANY]) - statistics.median(found[ONE])
            if what == "fork":
                continue
            low, high = interval(found[MANY], found[ONE])
            # No slower: that it takes as long is within what repeats show.
            bench.judge(8, f"{what} with 64 threads, of one", ratio(found[MANY], found[ONE]), 1, surely=low,
                        note=f"95% of repeats {low:.3f} to {high:.3f}")
        bench.notes.append(f"a spawn with 64 threads takes {longer['spawn']:.2f} ms longer, and a fork alone, whose child does nothing, "
                           f"{longer['fork']:.2f} ms")
    finally:
        for process in processes.values():
            process.stdin.close()
            process.wait()
