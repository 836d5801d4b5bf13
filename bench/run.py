"""Runs every benchmark of both languages, tasuki and its peers by turns, and prints the ratios.

    run.py [--quick] [--only WORD] [--rust PROGRAM] [--record]

A ratio is the peer's time per operation divided by tasuki's in the same round; the table has the median over the rounds,
the smallest and the largest. Nothing here fails because of a time: it fails when a result is wrong or a run does not end.
Tables, data and pictures go to results/, and with --record those of a whole run to RESULTS.md and pictures/, too.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pictures
from measuring import Failed, Plan, Suite, Watchdog, rows
from tables import HEADINGS, cells, line, markdown

HERE = Path(__file__).resolve().parent
PLANS = {
    "full": Plan(rounds=5, rate=0.25, latency=0.8, idle=2, limit=1800),
    "quick": Plan(rounds=3, rate=0.08, latency=0.2, idle=1, limit=600),
}


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
    crates = re.findall(r'name = "(crossbeam-channel|iceoryx2|ipc-channel|parking_lot)"\nversion = "(.*)"', lock)
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


MEASURED = tuple(
    "Array Barrier BoundedSemaphore Condition Event JoinableQueue Lock Pipe Queue RLock RawArray Semaphore SimpleQueue "
    "Value".split()
)


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


@contextmanager
def names_of_peers() -> Iterator[dict[str, str]]:
    """Where a peer that needs names puts its files, and what these begin with: all that a killed run left is removed."""
    prefix = f"tasuki_bench_{os.getpid()}_"
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        try:
            yield {"TASUKI_BENCH_FOLDER": folder, "TASUKI_BENCH_PREFIX": prefix}
        finally:
            for left in Path("/dev/shm").glob(f"{prefix}*"):
                left.unlink(missing_ok=True)


PYTHON_ENV = {"PYTHONPATH": str(HERE.parent / "python" / "src")}
HEAD = """# The last full run

Made by `make -C bench record`; do not edit. A ratio is the peer's time per operation over tasuki's, so more than 1
means that tasuki is faster: the median of {rounds} rounds, with the smallest and the largest. tasuki works between
processes everywhere; crossbeam-channel and the mutexes work between threads, the other peers between processes. Of single
round trips the percentiles are over all rounds; "few" says that too few took longer to tell. Of waiting, the processor
is a share of one, and a goal is the largest share.

"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter ones")
    parser.add_argument("--only", default="", metavar="WORD", help="only questions whose name contains WORD")
    parser.add_argument("--rust", type=Path, required=True, help="the program tasuki-bench")
    parser.add_argument("--record", action="store_true", help="write RESULTS.md and pictures, too")
    options = parser.parse_args()
    mode = "quick" if options.quick else "full"
    plan = PLANS[mode]
    facts = conditions()
    notes = []
    if missing := not_on_the_engine():
        notes.append(f"not on the engine, so the standard library's own: {', '.join(missing)}")
    if not importable("faster_fifo"):
        notes.append("faster-fifo could not be installed here: its rows are missing")
    for text in [*facts.values(), *notes]:
        print(text)
    print(f"times per operation; ratio = peer's time / ours, median of {plan.rounds} rounds")
    start = time.monotonic()
    with names_of_peers() as names:
        suites = [
            Suite("Rust", [str(options.rust)], names | {"RUST_BACKTRACE": "0"}),
            Suite("Python", [sys.executable, str(HERE / "python" / "bench.py")], PYTHON_ENV),
        ]
        measured, failures = measure(Watchdog(plan.limit), suites, options.only, plan)
    facts["load"] += ", at the end: {:.1f}".format(os.getloadavg()[0])
    record = options.record and not options.only
    save("only" if options.only else mode, plan, facts, measured, notes, failures, record)
    goals = [row for row in measured if row["goal"] is not None]
    minutes = (time.monotonic() - start) / 60
    print(
        f"\n{sum(row['reached'] for row in goals)} of {len(goals)} goals reached in {minutes:.1f} min; {facts['load']}"
    )
    return 1 if failures else 0


def measure(watchdog: Watchdog, suites: list[Suite], only: str, plan: Plan) -> tuple[list[dict], list[str]]:
    measured: list[dict] = []
    failures = []
    headed = None
    for suite in suites:
        for question in watchdog.call(suite, "list"):
            if only not in question["name"]:
                continue
            kind = question["kind"]
            if kind != headed:
                headed = kind
                print("\n" + line(kind, HEADINGS[kind]))
            try:
                for row in rows(watchdog, suite, question, plan):
                    measured.append(row)
                    print(line(kind, cells(row)), flush=True)
            except Failed as failure:
                failures.append(str(failure))
                print(f"FAILED  {failure}", flush=True)
    return measured, failures


def save(
    name: str, plan: Plan, facts: dict, measured: list[dict], notes: list[str], failures: list[str], record: bool
) -> None:
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    data = {**facts, "notes": notes, "failures": failures, "rows": measured}
    (results / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    (results / f"{name}.md").write_text(markdown(facts, measured, notes))
    pictures.draw(results / f"{name}-pictures", facts, measured)
    if record:
        text = HEAD.format(rounds=plan.rounds) + markdown(facts, measured, notes)
        if failures:
            missing = "\n".join(f"- {failure}" for failure in failures)
            text += f"\n## Missing\n\nQuestions of which one side failed:\n\n{missing}\n"
        (HERE / "RESULTS.md").write_text(text)
        pictures.draw(HERE / "pictures", facts, measured)


if __name__ == "__main__":
    sys.exit(main())
