"""What was measured, for people and for programs."""

import json
import re
import shlex
import statistics

from bench import machine
from stats import shown, summary


def starts(found, floor="floor"):
    """The table of starts: what a start takes, and how many times the floor."""
    base = statistics.median(found[floor]) if found.get(floor) else None
    print(f"\n{'start, median (p10 to p90), ms':36}{'':28}{'of the floor':>14}{'runs':>7}")
    for name, values in sorted(found.items(), key=lambda item: statistics.median(item[1])):
        of = f"{statistics.median(values) / base:.2f}" if base else ""
        print(f"{name:36}{shown(values):>28}{of:>14}{len(values):>7}")


def others(values):
    """Every other table: one line a subject."""
    for test, found in values.items():
        if test in ("start, ms", "peers") or not found:
            continue
        print(f"\n{test}, median (p10 to p90)")
        for name, of in found.items():
            one = isinstance(of, list) and len(of) == 1
            print(f"  {name:54}{f'{of[0]:.4g}' if one else shown(of):>28}")


def table(bench):
    of = machine(bench)
    print(f"== as {bench.who}, Linux {of['kernel']}, {of['cores']} cores, {of['processor']}, load {of['load']}, {bench.rounds} rounds")
    if "start, ms" in bench.values:
        starts(bench.values["start, ms"])
    others(bench.values)
    for note in bench.notes:
        print(f"note: {note}")
    print(f"\n{'goal':5}{'':60}{'measured':>12}   {'asked':20}")
    for one in sorted(bench.verdicts, key=lambda verdict: verdict.goal):
        value = f"{one.value:.3g}{one.unit}"
        note = f" ({one.note})" if one.note else ""
        print(f"{one.goal:<5}{one.what:60}{value:>12}   {one.asked:20}{'met' if one.met else 'MISSED'}{note}")
    for name, peer in bench.values.get("peers", {}).items():
        # Whole clauses of the policy; the JSON has the probes too.
        clauses = [clause for clause in peer["lacks"] if "/" not in clause]
        if clauses and name != "none":
            print(f"without means for: {name}: {', '.join(clauses)}")
    for name, why in sorted(bench.absent.items()):
        print(f"absent: {name}: {why}")
    for name, why in bench.failed.items():
        print(f"FAILED: {name}: {why}")


def write(bench, path):
    compact = lambda found: {name: {**summary(of), "values": [float(f"{value:.4g}") for value in of]} if isinstance(of, list) else of
                             for name, of in found.items()}
    values = {test: found if test == "peers" else compact(found) for test, found in bench.values.items()}
    peers = {name: {**peer, "command": shlex.join(peer["command"])} for name, peer in values.pop("peers", {}).items()}
    said = {"schema": "palisade.bench/1", "machine": machine(bench), "rounds": bench.rounds, "quick": bench.quick,
            "goals": [one.as_json() for one in bench.verdicts], "values": values, "peers": peers, "absent": bench.absent,
            "failed": bench.failed, "notes": bench.notes}
    # Where this run happened to put its files says nothing.
    text = json.dumps(said, indent=1).replace(bench.scratch, "/tmp/scratch").replace(bench.place, "/tmp/bench")
    text = re.sub(r"palisade-bench-\w+", "palisade-bench", text)
    with open(path, "w") as file:
        file.write(f"{text}\n")
