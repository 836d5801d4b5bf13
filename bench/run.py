"""Runs every benchmark of both languages, tasuki and its peers by turns, and prints the ratios.

    run.py [--quick] [--only WORD] [--rust PROGRAM] [--record]

Each measurement is a process of its own, in a group of its own, killed when it takes too long. The number of
operations is found for each side by trying, so that a measurement takes about as long on every machine. A ratio is the
peer's time per operation divided by tasuki's in the same round; the table has the median over the rounds, the
smallest and the largest. Nothing here fails because of a time: it fails when a result is wrong or a run does not end.
"""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
SETTINGS = {  # rounds, seconds per measurement, seconds for everything
    "full": (5, 0.3, 1800),
    "quick": (3, 0.1, 600),
}
FEWEST, MOST = 4, 50_000_000
ONE_RUN = 60  # seconds


@dataclass
class Suite:
    """A program that knows `list` and `run`."""

    title: str
    command: list[str]
    env: dict[str, str]


class Failed(Exception):
    """A measurement did not end well."""


class Watchdog:
    """Knows the process group that runs at the moment, and ends it when its or everybody's time is over."""

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self.group: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.on_signal)

    def on_signal(self, number, frame) -> None:
        self.end_group()
        sys.exit(128 + number)

    def end_group(self) -> None:
        if self.group is not None:
            try:
                os.killpg(self.group, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def call(self, suite: Suite, *args: str) -> object:
        left = self.deadline - time.monotonic()
        if left <= 0:
            sys.exit("The benchmarks took longer than they may altogether.")
        process = subprocess.Popen(
            [*suite.command, *args],
            env=os.environ | suite.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.group = process.pid
        try:
            out, err = process.communicate(timeout=min(left, ONE_RUN))
        except subprocess.TimeoutExpired:
            self.end_group()
            process.communicate()
            raise Failed(f"{' '.join(args)}: no end after {min(left, ONE_RUN):.0f} s") from None
        finally:
            # Children that outlived it, if any.
            self.end_group()
            self.group = None
        if process.returncode != 0:
            last = (err.strip().splitlines() or ["no message"])[-1]
            raise Failed(f"{' '.join(args)}: exit code {process.returncode}: {last}")
        return json.loads(out)


def seconds_per_operation(watchdog: Watchdog, suite: Suite, name: str, side: str, count: int):
    done = watchdog.call(suite, "run", name, side, str(count))
    return done["seconds"] / done["operations"], done["seconds"]


def enough_operations(watchdog: Watchdog, suite: Suite, name: str, side: str, wanted: float) -> int:
    """How many operations take about `wanted` seconds.

    Few operations say little, since a team's start takes some milliseconds on a busy machine: so the number grows until
    they take half of that.
    """
    count = FEWEST
    while True:
        each, seconds = seconds_per_operation(watchdog, suite, name, side, count)
        estimate = round(wanted / max(each, 1e-9))
        if seconds >= wanted / 2 or count >= MOST:
            return max(FEWEST, min(MOST, estimate))
        count = min(MOST, max(count * 4, min(estimate, count * 32)))


def compare(watchdog: Watchdog, suite: Suite, question: dict, rounds: int, wanted: float):
    """A row for each peer; the sides take turns."""
    sides = [side["name"] for side in question["sides"]]
    name = question["name"]
    counts = {side: enough_operations(watchdog, suite, name, side, wanted) for side in sides}
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            each, _ = seconds_per_operation(watchdog, suite, name, side, counts[side])
            times[side].append(each)
    ours = times[sides[0]]
    for peer in question["sides"][1:]:
        ratios = [theirs / mine for theirs, mine in zip(times[peer["name"]], ours, strict=True)]
        yield {
            "suite": suite.title,
            "name": name,
            "what": question["what"],
            "peer": peer["name"],
            "ours_seconds": ours,
            "peer_seconds": times[peer["name"]],
            "ratio": median(ratios),
            "lowest": min(ratios),
            "highest": max(ratios),
            "goal": peer["goal"],
            "reached": None if peer["goal"] is None else median(ratios) >= peer["goal"],
        }


def per_operation(seconds: list[float]) -> str:
    value = median(seconds)
    for unit, scale in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        if value * scale < 1000:
            return f"{value * scale:.3g} {unit}"
    return f"{value:.3g} s"


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


HEADINGS = ["what", "ours", "peer's", "peer", "ratio (min-max)", "goal", "reached"]
WIDTHS = [32, 8, 8, 22, 20, 6, 7]


def cells(row: dict) -> list[str]:
    reached = {None: "", True: "yes", False: "no"}[row["reached"]]
    return [
        row["what"],
        per_operation(row["ours_seconds"]),
        per_operation(row["peer_seconds"]),
        row["peer"],
        f"{number(row['ratio'])}x ({number(row['lowest'])}-{number(row['highest'])})",
        "" if row["goal"] is None else f"{row['goal']:.3g}x",
        reached,
    ]


def line(values: list[str]) -> str:
    return "  ".join(value.ljust(width) for value, width in zip(values, WIDTHS, strict=True)).rstrip()


def output_of(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def conditions() -> dict[str, str]:
    """Without which no figure means anything."""
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    changed = output_of("git", "status", "--porcelain", "--untracked-files=no", "--", "..")
    lock = (HERE / "Cargo.lock").read_text()
    crates = re.findall(r'name = "(crossbeam-channel|ipc-channel|parking_lot)"\nversion = "(.*)"', lock)
    fifo = re.search(r"faster-fifo==(.*)", (HERE / "python/requirements.txt").read_text())
    versions = [f"{name} {version}" for name, version in crates]
    if importable("faster_fifo"):
        versions.append(f"faster-fifo {fifo[1]}")
    return {
        "machine": f"{cpu[1].strip() if cpu else platform.machine()}, "
        f"{len(os.sched_getaffinity(0))} cores, Linux {platform.release()}",
        "versions": ", ".join([output_of("rustc", "--version"), f"Python {platform.python_version()}", *versions]),
        "commit": output_of("git", "rev-parse", "--short", "HEAD") + (" with changes" if changed else ""),
        "load": "load average at the start: {:.1f}".format(os.getloadavg()[0]),
    }


def importable(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


MEASURED = tuple("Array Barrier BoundedSemaphore Condition Event Lock Queue RLock RawArray Semaphore Value".split())


def not_on_the_engine() -> list[str]:
    """Names that are measured but are still the standard library's own."""
    program = f"import tasuki; print(*[n for n in {MEASURED} if n not in tasuki.ENGINE])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | PYTHON_ENV,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.split()


def markdown(facts: dict[str, str], rows: list[dict], notes: list[str]) -> str:
    lines = [f"- {facts[key]}" for key in ("machine", "versions", "load")]
    lines.insert(2, f"- commit {facts['commit']}")
    lines += [f"- {note}" for note in notes]
    for suite in dict.fromkeys(row["suite"] for row in rows):
        lines += ["", f"## {suite}", "", "| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|"]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in rows if row["suite"] == suite]
    return "\n".join(lines) + "\n"


PYTHON_ENV = {"PYTHONPATH": str(HERE.parent / "python" / "src")}
HEAD = """# The last full run

Made by `make -C bench record`; do not edit. A ratio is the peer's time per operation over tasuki's, so more than 1
means that tasuki is faster: the median of {rounds} rounds, with the smallest and the largest. tasuki works between
processes everywhere; crossbeam-channel and the mutexes work between threads, ipc-channel between processes.

"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter ones")
    parser.add_argument("--only", default="", metavar="WORD", help="only questions whose name contains WORD")
    parser.add_argument("--rust", type=Path, required=True, help="the program tasuki-bench")
    parser.add_argument("--record", action="store_true", help="write RESULTS.md too")
    options = parser.parse_args()
    mode = "quick" if options.quick else "full"
    rounds, wanted, limit = SETTINGS[mode]
    watchdog = Watchdog(limit)
    suites = [
        Suite("Rust", [str(options.rust)], {}),
        Suite("Python", [sys.executable, str(HERE / "python" / "bench.py")], PYTHON_ENV),
    ]
    facts = conditions()
    notes = []
    if missing := not_on_the_engine():
        notes.append(f"not on the engine, so the standard library's own: {', '.join(missing)}")
    if not importable("faster_fifo"):
        notes.append("faster-fifo could not be installed here: its rows are missing")
    for text in [*facts.values(), *notes]:
        print(text)
    print(f"times per operation; ratio = peer's time / ours, median of {rounds} rounds\n")
    print(line(HEADINGS))
    rows: list[dict] = []
    failures = []
    for suite in suites:
        for question in watchdog.call(suite, "list"):
            if options.only not in question["name"]:
                continue
            try:
                for row in compare(watchdog, suite, question, rounds, wanted):
                    rows.append(row)
                    print(line(cells(row)), flush=True)
            except Failed as failure:
                failures.append(str(failure))
                print(f"FAILED  {failure}", flush=True)
    facts["load"] += ", at the end: {:.1f}".format(os.getloadavg()[0])
    if not options.only:
        save(mode, facts, rows, notes, failures)
        if options.record and not failures:
            text = HEAD.format(rounds=rounds) + markdown(facts, rows, notes)
            (HERE / "RESULTS.md").write_text(text)
    goals = [row for row in rows if row["goal"] is not None]
    print(f"\n{sum(row['reached'] for row in goals)} of {len(goals)} goals reached; {facts['load']}")
    return 1 if failures else 0


def save(mode: str, facts: dict, rows: list[dict], notes: list[str], failures: list[str]) -> None:
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    data = {"mode": mode, **facts, "notes": notes, "failures": failures, "rows": rows}
    (results / f"{mode}.json").write_text(json.dumps(data, indent=1) + "\n")
    (results / f"{mode}.md").write_text(markdown(facts, rows, notes))


if __name__ == "__main__":
    sys.exit(main())
