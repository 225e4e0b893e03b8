"""Numbers of many runs."""

import random
import statistics


class Failed(Exception):
    """Something could not be measured."""


def quantile(values, share):
    values = sorted(values)
    return values[round(share * (len(values) - 1))]


def summary(values, digits=4):
    """What is kept of a list of runs."""
    short = lambda value: float(f"{value:.{digits}g}")
    return {"median": short(statistics.median(values)), "p10": short(quantile(values, 0.1)), "p90": short(quantile(values, 0.9)),
            "runs": len(values)}


def shown(values, unit="", digits=3):
    of = summary(values)
    return f"{of['median']:.{digits}g} ({of['p10']:.{digits}g} to {of['p90']:.{digits}g}){unit}"


def ratio(over, under):
    return statistics.median(over) / statistics.median(under)


def interval(over, under, times=1000, seed=7):
    """The middle 95 per cent of the ratio of medians, when both lists are drawn anew from themselves (bootstrap)."""
    draw = random.Random(seed)
    again = lambda values: statistics.median(draw.choices(values, k=len(values)))
    ratios = [again(over) / again(under) for _ in range(times)]
    return quantile(ratios, 0.025), quantile(ratios, 0.975)


def slope(points):
    """Of the straight line that is nearest to these points: how much y grows for one more of x."""
    return statistics.linear_regression(*zip(*points)).slope
