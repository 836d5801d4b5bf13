"""Draws the rows of a run: bars of throughput, and curves of latency percentiles. Writes SVG, with nothing but strings.

`pictures.py DATA.json FOLDER` draws again what a run has saved. A picture has its own ground, light or dark as the viewer's
system asks, and names machine and commit, since a number without them means nothing.
"""

import json
import math
import sys
from html import escape
from pathlib import Path
from statistics import median

# By the questions' names: which are about carrying many messages.
THROUGHPUT = ("queue-", "py-queue-", "pipe-stream", "py-pipe-stream", "channel-", "batch-", "py-batch-")
WIDTH = 860
OURS = "#e8590c"
PEERS = ["#1c7ed6", "#2f9e44", "#ae3ec9", "#868e96", "#c99700", "#0c9a9a", "#d6336c"]
STYLE = """<style>
text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 } .group { font-weight: 600 } .faint { font-size: 11px; fill: #59636e }
.ground { fill: #ffffff } .grid { stroke: #d1d9e0; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .faint { fill: #9198a1 } .ground { fill: #0d1117 } .grid { stroke: #3d444d }
}
</style>"""


def draw(folder: Path, facts: dict[str, str], rows: list[dict]) -> None:
    """Writes the pictures of a run into a folder, in place of those that are there."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    source = f"{facts['machine']}, commit {facts['commit']}"
    for suite in dict.fromkeys(row["suite"] for row in rows):
        mine = [row for row in rows if row["suite"] == suite]
        rates = [row for row in mine if row["kind"] == "rate" and row["name"].startswith(THROUGHPUT)]
        if rates:
            title = f"{suite}: messages per second"
            (folder / f"{suite.lower()}-throughput.svg").write_text(bars(title, source, rates))
        latencies = [row for row in mine if row["kind"] == "latency"]
        for name in dict.fromkeys(row["name"] for row in latencies):
            chosen = [row for row in latencies if row["name"] == name]
            title = f"{suite}: {chosen[0]['what']}"
            (folder / f"{suite.lower()}-{name.removeprefix('py-')}.svg").write_text(curves(title, source, chosen))


def picture(height: float, title: str, source: str, parts: list[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
    )
    frame = [
        head,
        STYLE,
        '<rect class="ground" width="100%" height="100%" rx="6"/>',
        text(20, 30, title, "title"),
        text(20, height - 12, source, "faint"),
    ]
    return "\n".join([*frame, *parts, "</svg>"]) + "\n"


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def colours(sides: list[str]) -> dict[str, str]:
    """Ours in one colour everywhere, a peer in the same one throughout a picture."""
    peers = [side for side in dict.fromkeys(sides) if not is_ours(side)]
    chosen = {side: PEERS[index % len(PEERS)] for index, side in enumerate(peers)}
    return chosen | {side: OURS for side in sides if is_ours(side)}


def is_ours(side: str) -> bool:
    return side.startswith("tasuki")


def bars(title: str, source: str, rows: list[dict]) -> str:
    """A group of bars for each question, the longest of each group as long as the picture allows."""
    left, room, bar, step = 190, 470, 13, 19
    colour = colours(["tasuki", *(row["peer"] for row in rows)])
    parts = []
    y = 52.0
    for name in dict.fromkeys(row["name"] for row in rows):
        group = [row for row in rows if row["name"] == name]
        speeds = {"tasuki": 1 / median(group[0]["ours_seconds"])}
        speeds |= {row["peer"]: 1 / median(row["peer_seconds"]) for row in group}
        parts.append(text(20, y + 12, group[0]["what"], "group"))
        y += 22
        for side, speed in speeds.items():
            length = max(1.0, room * speed / max(speeds.values()))
            parts.append(text(left - 8, y + 11, side, anchor="end"))
            parts.append(
                f'<rect x="{left}" y="{y:.1f}" width="{length:.1f}" height="{bar}" rx="2" fill="{colour[side]}"/>'
            )
            ratio = "" if side == "tasuki" else f"  ({speed / speeds['tasuki']:.2g} of tasuki's)"
            parts.append(text(left + length + 7, y + 11, rate(speed) + ratio))
            y += step
        y += 12
    return picture(y + 26, title, source, parts)


def rate(per_second: float) -> str:
    for unit, scale in (("M/s", 1e6), ("k/s", 1e3)):
        if per_second >= scale:
            return f"{per_second / scale:.3g} {unit}"
    return f"{per_second:.3g} /s"


def curves(title: str, source: str, rows: list[dict]) -> str:
    """Time over percentiles: to the right ten times fewer answers take longer at each mark; upwards ten times longer."""
    left, right, top, bottom, height = 70, 190, 56, 70, 460
    points = [point for row in rows for point in row["curve"]]
    most = max(nines for nines, _ in points)
    lowest = math.floor(math.log10(max(1, min(time for _, time in points))))
    highest = math.ceil(math.log10(max(time for _, time in points)))

    def x(nines: float) -> float:
        return left + (WIDTH - left - right) * nines / max(most, 1)

    def y(time: float) -> float:
        share = (math.log10(max(1, time)) - lowest) / max(highest - lowest, 1)
        return height - bottom - (height - bottom - top) * share

    parts = []
    for power in range(lowest, highest + 1):
        parts.append(grid(x(0), y(10**power), x(most), y(10**power)))
        parts.append(text(left - 8, y(10**power) + 4, short(10**power), "faint", "end"))
    marks = [(0.0, "0"), (math.log10(2), "p50"), (1, "p90"), (2, "p99"), (3, "p99.9"), (4, "p99.99")]
    for nines, label in marks:
        if nines <= most:
            parts.append(grid(x(nines), top, x(nines), height - bottom))
            parts.append(text(x(nines), height - bottom + 18, label, "faint", "middle"))
    parts.append(text(left, height - bottom + 36, "answers that came within the time at the left", "faint"))
    colour = colours([row["side"] for row in rows])
    ours = [row["side"] for row in rows if is_ours(row["side"])]
    ends = []
    for row in rows:
        line = " ".join(f"{x(nines):.1f},{y(time):.1f}" for nines, time in row["curve"])
        # Several of ours differ by their dashes.
        dash = f' stroke-dasharray="{3 * ours.index(row["side"])}"' if row["side"] in ours[1:] else ""
        stroke = (
            f'fill="none" stroke="{colour[row["side"]]}" stroke-width="{2.6 if row["side"] in ours else 1.8}"{dash}'
        )
        parts.append(f'<polyline points="{line}" {stroke}/>')
        ends.append((y(row["curve"][-1][1]), row["side"], stroke))
    parts += labels(ends, x(most) + 10)
    return picture(height, title, source, parts)


def labels(ends: list[tuple[float, str, str]], x: float) -> list[str]:
    """Names at the ends of the lines, moved apart where they would lie over each other."""
    parts = []
    above = -math.inf
    for y, side, stroke in sorted(ends):
        y = max(y, above + 17)
        above = y
        parts.append(f'<polyline points="{x:.1f},{y:.1f} {x + 18:.1f},{y:.1f}" {stroke}/>')
        parts.append(text(x + 24, y + 4, side))
    return parts


def grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def short(nanoseconds: int) -> str:
    for unit, scale in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if nanoseconds >= scale:
            return f"{nanoseconds // scale} {unit}"
    return f"{nanoseconds} ns"


if __name__ == "__main__":
    data = json.loads(Path(sys.argv[1]).read_text())
    draw(Path(sys.argv[2]), data, data["rows"])
