"""Puts several runs of scripts/bench side by side in fixtures/bench; started by scripts/bench-tables.

tables.py FIXTURES RUN...: each RUN is a directory that scripts/bench wrote. The figures of the first become the data and the plot of starts, the last
that has one gives the plot of growth; the tables have the goals of all, as many as each has measured. What README.md says before its tables is kept.
"""

import json
import os
import shutil
import sys

MARK = "<!-- tables: made by scripts/bench-tables -->\n"


def load(run, who):
    path = f"{run}/bench-{who}.json"
    if not os.path.exists(path):
        return None
    with open(path) as file:
        return json.load(file)


def goals(runs):
    """One line for each thing that was asked, with what each run measured."""
    rows = {}
    for run in runs:
        for goal in run["goals"]:
            rows.setdefault((goal["goal"], goal["what"], goal["asked"]), []).append(goal)
    yield "| goal | what | asked | measured | |"
    yield "|---|---|---|---|---|"
    for (number, what, asked), found in sorted(rows.items(), key=lambda row: row[0][0]):
        met = sum(goal["met"] for goal in found)
        said = "met" if met == len(found) else "missed" if met == 0 else f"met {met} of {len(found)} times"
        note = next((f" ({goal['note']})" for goal in found if goal["note"]), "")
        measured = ", ".join(f"{goal['value']:.3g}{goal['unit']}" for goal in found)
        yield f"| {number} | {what} | {asked} | {measured} | {said}{note} |"


def starts(run):
    found = run["values"]["start, ms"]
    floor = found["floor"]["median"]
    yield "Starts, medians in ms with p10 and p90, of the first run:"
    yield ""
    yield "| | ms | p10 | p90 | of the floor |"
    yield "|---|---|---|---|---|"
    for name, of in sorted(found.items(), key=lambda start: start[1]["median"]):
        yield f"| {name} | {of['median']:.3g} | {of['p10']:.3g} | {of['p90']:.3g} | {of['median'] / floor:.2f} |"


def main():
    fixtures, *places = sys.argv[1:]
    lines = []
    for who, title in (("root", "As root"), ("user", "As an ordinary user")):
        runs = [run for run in (load(place, who) for place in places) if run]
        if not runs:
            continue
        lines += [f"## {title}", "", *goals(runs), "", *starts(runs[0]), ""]
        shutil.copy(f"{places[0]}/bench-{who}.json", f"{fixtures}/{who}.json")
        shutil.copy(f"{places[0]}/bench-{who}.svg", f"{fixtures}/starts-{who}.svg")
        grown = [path for place in places if os.path.exists(path := f"{place}/bench-{who}-growth.svg")]
        shutil.copy(grown[-1], f"{fixtures}/growth-{who}.svg")
    readme = f"{fixtures}/README.md"
    with open(readme) as file:
        before = file.read().partition(MARK)[0]
    with open(readme, "w") as file:
        file.write(before + MARK + "\n" + "\n".join(lines))


main()
