"""The plot of how a start grows: one panel for each thing that there can be many of."""

from xml.sax.saxutils import escape

from plot import STYLE

PANEL, HEIGHT, LEFT, TOP, BOTTOM = 300, 216, 54, 64, 36


def panel(number, what, points):
    """Both axes begin at zero: a straight line is linear growth, and its height is what it costs."""
    begin, width, height = PANEL * number + LEFT, PANEL - LEFT - 20, HEIGHT - TOP - BOTTOM
    most_x, most_y = max(x for x, _ in points), 1.1 * max(y for _, y in points)
    at = lambda x, y: (begin + width * x / most_x, TOP + height * (1 - y / most_y))
    floor = TOP + height
    places = [at(*point) for point in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<text x="{begin}" y="{TOP - 12}">{escape(what)}</text>'
    yield f'<line class="grid" x1="{begin}" x2="{begin + width}" y1="{floor}" y2="{floor}"/>'
    yield f'<line class="grid" x1="{begin}" x2="{begin}" y1="{TOP}" y2="{floor}"/>'
    yield f'<polyline class="curve" points="{line}"/>'
    for (x, y), (left, top) in zip(points, places):
        yield f'<circle class="ours" cx="{left:.1f}" cy="{top:.1f}" r="3"><title>{x}: {y:.2f} ms</title></circle>'
    for share in (0, 0.5, 1):
        y = most_y * share / 1.1
        words = f"{y:.0f}" if y >= 100 else f"{y:.3g}"
        yield f'<text class="small" x="{begin - 6}" y="{at(0, y)[1] + 4:.1f}" text-anchor="end">{words}</text>'
    for x in (points[0][0], most_x):
        yield f'<text class="small" x="{at(x, 0)[0]:.1f}" y="{floor + 16}" text-anchor="middle">{x}</text>'


def write(bench, path):
    width = PANEL * len(bench.growth)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="Growth of start times">',
        f"<style>{STYLE} .curve {{ fill: none; stroke: #0969da; stroke-width: 1.6 }}</style>",
        '<text class="title" x="12" y="20">Start, ms (median), against how many there are of</text>',
    ]
    for number, (what, points) in enumerate(bench.growth.items()):
        lines += panel(number, what, points)
    with open(path, "w") as file:
        file.write("\n".join([*lines, "</svg>", ""]))
