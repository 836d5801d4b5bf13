"""Who worked when: traces of processes and threads, and their picture in the terminal.

A trace is a list of marks (time, processor time used so far). Between two marks a worker used some share of a
core; the picture draws that share as the height of a block. So several rows side by side show concurrency, and
only rows whose heights add up to more than one core show parallelism. The Rust twin is demo/rust/src/trace.rs.
"""

import os
import sys
import time

APART = 0.001  # seconds between two marks; closer ones are left out


class Trace:
    """What one process did, or one thread when `clock` is time.thread_time."""

    def __init__(self, name, clock=time.process_time):
        self.name = name
        self.clock = clock
        self.marks = [(time.monotonic(), clock())]

    def mark(self):
        """Notes how far this worker has come; called after every bit of work."""
        now = time.monotonic()
        if now - self.marks[-1][0] >= APART:
            self.marks.append((now, self.clock()))

    def close(self):
        """Ends the trace and returns it as plain data, the same that a Trace in Rust becomes on its way here."""
        self.marks.append((time.monotonic(), self.clock()))
        return {"name": self.name, "marks": self.marks}


def processor_time(traces):
    """The processor time in seconds that all workers together have used."""
    return sum(trace["marks"][-1][1] - trace["marks"][0][1] for trace in traces)


def machine_time():
    """The processor time in seconds that all programs of this machine together have used so far."""
    with open("/proc/stat") as file:
        user, nice, system = file.readline().split()[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def draw(traces, seconds, width, label):
    """Yields a line for each trace: its name in `label` columns, then `width` columns for `seconds` seconds."""
    levels = _levels()
    column = seconds / width
    start = min(trace["marks"][0][0] for trace in traces)
    for trace in traces:
        marks = trace["marks"]
        used = [0.0] * width
        for (begin, before), (end, after) in zip(marks, marks[1:]):
            _spread(used, (begin - start) / column, (end - start) / column, after - before)
        first, last = ((marks[i][0] - start) / column for i in (0, -1))
        row = "".join(
            levels[min(8, round(8 * share / column))] if first < i + 1 and i < last else " "
            for i, share in enumerate(used)
        )
        yield f"{trace['name']:<{label}} {row.rstrip()}"


def _spread(used, begin, end, amount):
    """Adds `amount` to the columns from `begin` to `end` (fractions of columns), evenly."""
    if end <= begin:
        return
    for i in range(int(begin), min(int(end) + 1, len(used))):
        used[i] += amount * (min(end, i + 1) - max(begin, i)) / (end - begin)


def _levels():
    """Nine characters from 'there, but waiting' to 'a whole core'."""
    blocks = "·▁▂▃▄▅▆▇█"
    try:
        blocks.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return ".:-=+*%@#"
    return blocks
