"""Goal 7: the gateway's throughput, latency and memory, by scripts/bench-network, which ran before."""

import json
import re

from stats import Failed


def measure(bench, _goals):
    if not bench.network:
        raise Failed("scripts/bench-network gave nothing")
    with open(bench.network) as file:
        said = json.load(file)
    for test, of in said["values"].items():
        if test != "start, ms":
            bench.keep(f"network: {test}", of)
    for one in said["goals"]:
        # Starts and memory are measured elsewhere, with more rounds.
        if one["goal"].startswith(("start", "resident", "carrier with")):
            continue
        bench.judge(7, one["goal"], one["ratio"], one["bound"], at_least=one["at"] == "least")
    idle(bench, said["values"])
    bench.absent |= {f"network: {name}": why for name, why in said["absent"].items()}


def idle(bench, values):
    """What 10,000 idle connections take. Where descriptors sufficed for fewer, what each of them takes counts for the rest."""
    for test, of in values.items():
        many = re.match(r"carrier with (\d+) idle, MiB", test)
        if not many:
            continue
        before, held, after = values["carrier, KiB"]["gateway"][0] / 1024, int(many[1]), of["gateway"][0]
        size = before + (after - before) * 10_000 / held
        note = "" if held == 10_000 else f"reckoned from {held}"
        bench.judge(7, "gateway with 10,000 idle connections", size, 64, " MiB", strict=True, note=note)
        return
    raise Failed("no idle connections were measured")
