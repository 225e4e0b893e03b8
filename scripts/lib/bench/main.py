"""Measures the goals of speed; started by scripts/bench, which has built what is in PLACE.

main.py PLACE SCRATCH OUT ROUNDS QUICK GOALS NETWORK: OUT is where bench-WHO.json and bench-WHO.svg are written, QUICK 0 or 1, GOALS
numbers with commas between, NETWORK the JSON of scripts/bench-network, or nothing.
"""

import shutil
import sys
import traceback

import growth
import inside
import library
import memory
import network
import plot
import plot_growth
import rates
import report
import starts
import suite
from bench import Bench

# What is measured together, and for which goals.
GROUPS = [
    ("starts", {1, 2, 3}, starts.measure),
    ("starts a second", {4}, rates.measure),
    ("inside", {5}, inside.measure),
    ("memory", {6}, memory.measure),
    ("network", {7}, network.measure),
    ("library", {8}, library.measure),
    ("suite", {9}, suite.measure),
    ("growth", {10}, growth.measure),
]


def main():
    place, scratch, out, rounds, quick, goals, network = sys.argv[1:]
    wanted = {int(goal) for goal in goals.split(",")}
    bench = Bench(place, scratch, int(rounds), quick == "1", network)
    try:
        measure_all(bench, wanted)
    finally:
        for directory in bench.remove:
            shutil.rmtree(directory, ignore_errors=True)
    report.table(bench)
    report.write(bench, f"{out}/bench-{bench.who}.json")
    if "start, ms" in bench.values:
        plot.write(bench, f"{out}/bench-{bench.who}.svg")
    if bench.growth:
        plot_growth.write(bench, f"{out}/bench-{bench.who}-growth.svg")
    sys.exit(1 if bench.failed else 0)


def measure_all(bench, wanted):
    for name, of, measure in GROUPS:
        if not of & wanted:
            continue
        print(f"-- {name}", file=sys.stderr, flush=True)
        try:
            measure(bench, of & wanted)
        except Exception as error:  # The others are measured all the same, and this is told.
            bench.failed[name] = f"{type(error).__name__}: {error}"
            traceback.print_exc()


main()
