"""Runs one side of one question at a time, in a process group of its own, and makes rows of what the sides say.

The number of operations is found for each side by trying, so that a measurement takes about as long on every machine. The
sides take turns, and a ratio is formed inside a round, so that a slow moment of the machine meets both.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

FEWEST, MOST = 4, 50_000_000
ONE_RUN = 60  # seconds

PERCENTILES = (50, 90, 99, 99.9)
# A percentile is told when at least so many of the times are beyond it.
BEYOND = 5


@dataclass
class Suite:
    """A program that knows `list` and `run`."""

    title: str
    command: list[str]
    env: dict[str, str]


@dataclass
class Plan:
    """How thoroughly to measure."""

    rounds: int
    # Of a measurement, in seconds: of many operations together, of each single one, and of waiting.
    rate: float
    latency: float
    idle: float
    # Of everything.
    limit: float


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

    def call(self, suite: Suite, *args: str):
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
            last = " / ".join(err.strip().splitlines()[-4:]) or "no message"
            raise Failed(f"{' '.join(args)}: exit code {process.returncode}: {last}")
        return json.loads(out)


def rows(watchdog: Watchdog, suite: Suite, question: dict, plan: Plan) -> Iterator[dict]:
    """What was measured of one question, a row for each side that is compared."""
    measure = {"rate": rates, "latency": latencies, "idle": idleness}[question["kind"]]
    for row in measure(watchdog, suite, question, plan):
        yield {"kind": question["kind"], "suite": suite.title, "name": question["name"], "what": question["what"]} | row


def run(watchdog: Watchdog, suite: Suite, question: dict, side: dict, count: int) -> dict:
    return watchdog.call(suite, "run", question["name"], side["name"], str(count))


def enough_operations(watchdog: Watchdog, suite: Suite, question: dict, side: dict, wanted: float) -> int:
    """How many operations take about `wanted` seconds.

    Few operations say little, since a team's start takes some milliseconds on a busy machine: so the number grows until
    they take half of that.
    """
    count = FEWEST
    while True:
        done = run(watchdog, suite, question, side, count)
        each = done["seconds"] / done["operations"]
        estimate = round(wanted / max(each, 1e-9))
        if done["seconds"] >= wanted / 2 or count >= MOST:
            if count <= 32 * FEWEST and each < wanted:
                # Few, and slow: was it the machine's moment?
                done = run(watchdog, suite, question, side, count)
                estimate = max(estimate, round(wanted * done["operations"] / done["seconds"]))
            return max(FEWEST, min(MOST, estimate))
        count = min(MOST, max(count * 4, min(estimate, count * 32)))


def by_turns(watchdog: Watchdog, suite: Suite, question: dict, rounds: int, wanted: float) -> dict[str, list[dict]]:
    """What each side said in each round."""
    sides = question["sides"]
    counts = {side["name"]: enough_operations(watchdog, suite, question, side, wanted) for side in sides}
    said: dict[str, list[dict]] = {side["name"]: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            said[side["name"]].append(run(watchdog, suite, question, side, counts[side["name"]]))
    return said


def compared(theirs: list[float], ours: list[float], goal: float | None) -> dict:
    """The ratios inside the rounds: more than 1 means that tasuki is faster."""
    ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
    return {
        "ratio": median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "goal": goal,
        "reached": None if goal is None else median(ratios) >= goal,
    }


def rates(watchdog: Watchdog, suite: Suite, question: dict, plan: Plan) -> Iterator[dict]:
    """A row for each peer."""
    said = by_turns(watchdog, suite, question, plan.rounds, plan.rate)
    times = {side: [done["seconds"] / done["operations"] for done in all_] for side, all_ in said.items()}
    ours = times[question["sides"][0]["name"]]
    for peer in question["sides"][1:]:
        theirs = times[peer["name"]]
        row = {"peer": peer["name"], "ours_seconds": ours, "peer_seconds": theirs}
        yield row | compared(theirs, ours, peer["goal"])


def latencies(watchdog: Watchdog, suite: Suite, question: dict, plan: Plan) -> Iterator[dict]:
    """A row for each side, ours too. Percentiles are of the times of all rounds together, the ratio is of the medians
    inside the rounds."""
    said = by_turns(watchdog, suite, question, plan.rounds, plan.latency)
    medians = {
        side: [percentile(sorted(map(tuple, done["nanoseconds"])), 0.5) for done in all_] for side, all_ in said.items()
    }
    ours = question["sides"][0]["name"]
    for side in question["sides"]:
        counts: Counter[int] = Counter()
        for done in said[side["name"]]:
            counts.update(dict(done["nanoseconds"]))
        times = sorted(counts.items())
        samples = counts.total()
        row = {
            "side": side["name"],
            "samples": samples,
            "percentiles": {
                str(percent): percentile(times, percent / 100)
                for percent in PERCENTILES
                if samples * (1 - percent / 100) >= BEYOND
            },
            "curve": curve(times),
        }
        if side["name"] == ours:
            yield row | {"ratio": None, "goal": None, "reached": None}
        else:
            yield row | compared(medians[side["name"]], medians[ours], side["goal"])


def percentile(times: list[tuple[int, int]], fraction: float) -> int:
    """The time within which this fraction of the answers were there, of times and how often each was seen."""
    wanted = fraction * sum(count for _, count in times)
    seen = 0
    for time_, count in times:
        seen += count
        if seen >= wanted:
            return time_
    return times[-1][0]


def curve(times: list[tuple[int, int]]) -> list[tuple[float, int]]:
    """Points of a curve over "nines", which is -log10 of the fraction that took longer: 1 is 90 %, 2 is 99 %."""
    samples = sum(count for _, count in times)
    points = []
    nines = 0.0
    while samples * 10**-nines >= BEYOND:
        points.append((round(nines, 3), percentile(times, 1 - 10**-nines)))
        nines += 0.05
    return points


def idleness(watchdog: Watchdog, suite: Suite, question: dict, plan: Plan) -> Iterator[dict]:
    """A row for each side; a goal is the largest share of a processor that tasuki may use."""
    for side in question["sides"]:
        done = run(watchdog, suite, question, side, round(plan.idle * 1000))
        share = done["processor"] / done["waited"]
        yield {
            "side": side["name"],
            "share": share,
            "wake_ups": done["wake_ups"] / done["waited"],
            "goal": side["goal"],
            "reached": None if side["goal"] is None else share <= side["goal"],
        }
