"""Goal 4: starts a second, with two workers and with 64 at once, beside bubblewrap's."""

import floor
import peers
from spawn import Spawner, Subject, interleaved
from starts import DEFAULT, FLOOR
from stats import ratio


def measure(bench, _goals):
    others, absent = peers.find(bench, names=["bubblewrap"])
    bench.absent |= absent
    own = [Subject(FLOOR, [floor.build(bench.place, bench.scratch, "floor-rate", "default", bench.work)], bench.work),
           bench.run_subject(DEFAULT)]
    with Spawner(bench.place, bench.scratch, [*own, *others]) as spawner:
        for workers, count in (2, bench.few(100, 40)), (64, bench.few(192, 128)):
            found = interleaved([subject.name for subject in spawner.subjects], bench.few(9, 3),
                                lambda name: spawner.rate(name, count, workers))
            bench.keep(f"starts a second, {workers} at a time", found)
            if others:
                bench.judge(4, f"starts a second, {workers} at a time, of bubblewrap's", ratio(found[DEFAULT], found["bubblewrap"]),
                            1.5, at_least=True)
