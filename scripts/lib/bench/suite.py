"""Goal 9: what the suite takes: a whole verification, one of a few seconds, the survey, and the matrix of a fleet."""

import os

from spawn import Spawner, Subject
from stats import Failed

REPORTS = 1000


def fleet(bench, name, report):
    """The same report under the names of a thousand hosts: the matrix reads each for itself."""
    directory = bench.made(name)
    files = [f"{directory}/host{number}.json" for number in range(REPORTS)]
    for file in files:
        os.link(report, file)
    return Subject(name, [bench.palisade, "matrix", "--by", "host", *files], bench.work)


def measure(bench, _goals):
    palisade, work = bench.palisade, bench.work
    reports = {tier: f"{bench.scratch}/{tier}.json" for tier in ("smoke", "standard")}
    verify = lambda tier: [palisade, "verify", "--tier", tier, "--out", reports[tier]]
    plan = [
        ("verify", Subject("verify", verify("standard"), work), bench.few(3, 1), 20_000),
        ("verify, smoke", Subject("verify, smoke", verify("smoke"), work), bench.few(7, 3), 2_000),
        ("host", Subject("host", [palisade, "host"], work), bench.few(21, 7), 150),
    ]
    found = {}

    def timed(name, subject, times, bound):
        with Spawner(bench.place, bench.scratch, [subject]) as spawner:
            # 3: something was inconclusive, as may be on a machine with much else to do; it took its time all the same.
            found[name] = [spawner.run(name, codes=(0, 3)) for _ in range(times)]
        middle = sorted(found[name])[len(found[name]) // 2]
        bench.judge(9, f"{name}, s", middle / 1000, bound / 1000, " s", strict=True)

    for one in plan:
        timed(*one)
    for tier, about in ("smoke", "of smoke"), ("standard", "whole"):
        if not os.path.exists(reports[tier]):
            raise Failed(f"verify wrote no report of tier {tier}")
        name = f"matrix of {REPORTS} reports, {about}"
        timed(name, fleet(bench, name, reports[tier]), bench.few(5, 1), 2_000)
    bench.keep("suite, ms", found)
