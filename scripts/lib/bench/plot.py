"""The plot that matters: starts as multiples of the floor, ours and those of others, on a logarithmic scale."""

import math
import statistics
from xml.sax.saxutils import escape

from stats import quantile

LEFT, RIGHT, ROW, TOP, WIDTH = 270, 70, 24, 64, 860
# Legible on white and on black: what is drawn takes after the reader's setting.
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.small { font-size: 11px; fill: #57606a }
.title { font-size: 15px; font-weight: 600 }
.grid { stroke: #d0d7de }
.bar { fill: #afb8c1 } .ours { fill: #0969da } .floor { fill: #57606a }
.spread { stroke: #24292f; stroke-width: 1.2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #30363d }
  .bar { fill: #656c76 } .ours { fill: #4493f8 } .floor { fill: #9198a1 } .spread { stroke: #e6edf3 }
}
"""


def svg(found, subtitle, floor="floor"):
    """The text of the plot; `found` has lists of milliseconds by subject."""
    base = statistics.median(found[floor])
    rows = sorted(found, key=lambda name: statistics.median(found[name]))
    most = max(quantile(values, 0.9) for values in found.values()) / base
    least = min(0.5, min(quantile(values, 0.1) for values in found.values()) / base)
    scale = (WIDTH - LEFT - RIGHT) / (math.log(most) - math.log(least))
    x = lambda ratio: LEFT + (math.log(max(ratio, least)) - math.log(least)) * scale
    bottom = TOP + ROW * len(rows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 40}" role="img" aria-label="Start times">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="12" y="24">Start to end of /bin/true, as multiples of the floor</text>',
        f'<text class="small" x="12" y="42">{escape(subtitle)}</text>',
    ]
    for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500):
        if least <= tick <= most:
            at = x(tick)
            lines.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 6}" y2="{bottom}"/>')
            lines.append(f'<text class="small" x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}x</text>')
    for number, name in enumerate(rows):
        values, y = found[name], TOP + ROW * number
        middle, low, high = (value / base for value in (statistics.median(values), quantile(values, 0.1), quantile(values, 0.9)))
        kind = "floor" if name == floor else "ours" if name.startswith("palisade") else "bar"
        lines += [
            f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{LEFT}" y="{y + 3}" width="{max(1, x(middle) - LEFT):.1f}" height="{ROW - 8}" rx="2"/>',
            f'<line class="spread" x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y + 11}" y2="{y + 11}"/>',
            f'<text class="small" x="{max(x(high), x(middle)) + 6:.1f}" y="{y + 15}">{middle:.2f}</text>',
        ]
    lines += [f'<text class="small" x="12" y="{bottom + 34}">bar: median; line: p10 to p90; the scale is logarithmic</text>', "</svg>", ""]
    return "\n".join(lines)


def write(bench, path):
    of = f"as {'root' if bench.who == 'root' else 'an ordinary user'}, default policy or its equal"
    # Without any sandbox: a tenth of the floor, and nothing to compare with.
    found = {name: values for name, values in bench.values["start, ms"].items() if name != "none"}
    with open(path, "w") as file:
        file.write(svg(found, f"{of}; {bench.rounds} interleaved rounds on one machine"))
