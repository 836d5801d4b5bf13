"""The rows of a run as tables: on the screen while it goes on, and in Markdown."""

from statistics import median

HEADINGS = {
    "rate": ["what", "ours", "peer's", "peer", "ratio (min-max)", "goal", "reached"],
    "latency": ["what", "side", "p50", "p90", "p99", "p99.9", "p50, ratio (min-max)", "goal", "reached"],
    "idle": ["what", "side", "processor", "wake-ups/s", "goal", "reached"],
}
WIDTHS = {
    "rate": [32, 8, 8, 22, 20, 6, 7],
    "latency": [28, 20, 8, 8, 8, 8, 22, 6, 7],
    "idle": [28, 20, 10, 10, 8, 7],
}
TITLES = {
    "rate": "",
    "latency": ", single round trips",
    "idle": ", waiting",
}


def duration(seconds: float) -> str:
    for unit, scale in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        if seconds * scale < 1000:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds:.3g} s"


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(row: dict) -> str:
    if row["ratio"] is None:
        return ""
    return f"{number(row['ratio'])}x ({number(row['lowest'])}-{number(row['highest'])})"


def cells(row: dict) -> list[str]:
    reached = {None: "", True: "yes", False: "no"}[row["reached"]]
    goal = row["goal"]
    match row["kind"]:
        case "rate":
            ours, theirs = (duration(median(row[side])) for side in ("ours_seconds", "peer_seconds"))
            goal = "" if goal is None else f"{goal:.3g}x"
            return [row["what"], ours, theirs, row["peer"], ratio(row), goal, reached]
        case "latency":
            told = [row["percentiles"].get(percent) for percent in ("50", "90", "99", "99.9")]
            times = ["few" if time is None else duration(time / 1e9) for time in told]
            goal = "" if goal is None else f"{goal:.3g}x"
            return [row["what"], row["side"], *times, ratio(row), goal, reached]
        case "idle":
            goal = "" if goal is None else f"{goal:.2g}"
            return [row["what"], row["side"], f"{row['share']:.2g}", f"{row['wake_ups']:.2g}", goal, reached]
    raise ValueError(row["kind"])


def line(kind: str, values: list[str]) -> str:
    return "  ".join(value.ljust(width) for value, width in zip(values, WIDTHS[kind], strict=True)).rstrip()


def markdown(facts: dict[str, str], rows: list[dict], notes: list[str]) -> str:
    lines = [f"- {facts[key]}" for key in ("machine", "versions", "load")]
    lines.insert(2, f"- commit {facts['commit']}")
    lines += [f"- {note}" for note in notes]
    for suite in dict.fromkeys(row["suite"] for row in rows):
        for kind, headings in HEADINGS.items():
            chosen = [row for row in rows if (row["suite"], row["kind"]) == (suite, kind)]
            if chosen:
                lines += ["", f"## {suite}{TITLES[kind]}", "", "| " + " | ".join(headings) + " |"]
                lines += ["|---" * len(headings) + "|"]
                lines += ["| " + " | ".join(cells(row)) + " |" for row in chosen]
    return "\n".join(lines) + "\n"
