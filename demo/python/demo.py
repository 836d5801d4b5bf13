"""Two jobs, done in every way there is, with times and a picture of who worked when: python demo.py [FOLDER]

`make demo` builds everything this needs. FOLDER is what the words are counted of; without one it is the standard
library of the Python that runs this. The Rust programs are started with a queue to report through, so every figure
below, theirs too, arrives here the way tasuki carries data.
"""

import hashlib
import multiprocessing
import os
import queue
import shutil
import sys
import sysconfig
import time
from pathlib import Path
from typing import NamedTuple

import divisors
import tasuki
import timeline
import wordcount

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(os.environ.get("TASUKI_TARGET", ROOT / "target")) / "release"


class Run(NamedTuple):
    how: str
    seconds: float
    result: dict
    traces: list
    others: float  # processor time in seconds that other programs used meanwhile

    @property
    def cores_busy(self):
        return timeline.processor_time(self.traces) / self.seconds


def here(how, function, *args):
    """Runs `function`, which returns a result and traces, in this program."""
    progress(how)
    before, begin = timeline.machine_time(), time.monotonic()
    result, traces = function(*args)
    seconds, used = time.monotonic() - begin, timeline.machine_time() - before
    return Run(how, seconds, dict(result), traces, used - timeline.processor_time(traces))


def in_rust(how, program, *args):
    """Runs a whole program written in Rust, which times itself and reports through a queue."""
    progress(how)
    report = tasuki.Queue()
    before = timeline.machine_time()
    process = tasuki.Command([rust(program), *args], handles={"report": report})
    process.start()
    process.join()
    used = timeline.machine_time() - before
    if process.exitcode != 0:
        sys.exit(f"demo: {program} failed")
    # It is over, and what it put into the queue is there: nobody has to read while it ends.
    seconds, result, traces = report.get(block=False)
    return Run(how, seconds, dict(result), traces, used - timeline.processor_time(traces))


def rust(program):
    return str(PROGRAMS / program)


def count_words(folder, workers):
    texts = [len(piece) for piece in wordcount.pieces(folder)]  # also warms the file cache for all
    if not texts:
        sys.exit(f"demo: there is no text in {folder}")
    python = [
        here("Python, one after another", wordcount.one_after_another, folder),
        here("Python, standard multiprocessing", wordcount.in_processes, multiprocessing, folder, workers),
        here("Python, tasuki", wordcount.in_processes, tasuki, folder, workers),
    ]
    fast = [
        in_rust("Rust, one after another", "wordcount", folder, "0"),
        in_rust("Rust, tasuki", "wordcount", folder, str(workers)),
        here(
            "Python feeding Rust workers, tasuki",
            wordcount.in_rust_workers,
            tasuki,
            rust("count_worker"),
            folder,
            workers,
        ),
    ]
    table = python[0].result
    progress("")
    print(f"Words in {folder}")
    print(f"{sum(texts) / 1e6:.1f} MB of text in {len(texts)} pieces, {workers} workers")
    print(f"{sum(table.values())} words, {len(table)} different, most often:", end=" ")
    top = sorted(table, key=table.get, reverse=True)[:8]
    print(", ".join(word.decode(errors="replace") for word in top))
    show(python, fast)
    return agree(python + fast, digest_of_table)


def find_divisors():
    python = [
        here("Python, one after another", divisors.one_after_another),
        here("Python, threads", divisors.in_threads),
        here("Python, standard multiprocessing", divisors.in_processes, multiprocessing),
        here("Python, tasuki", divisors.in_processes, tasuki),
    ]
    fast = [
        in_rust("Rust, one after another", "divisors", "one-after-another"),
        in_rust("Rust, threads", "divisors", "threads"),
        in_rust("Rust, tasuki", "divisors", "processes"),
    ]
    progress("")
    print("Divisors of", ", ".join(map(str, divisors.NUMBERS)))
    show(python, fast)
    return agree(python + fast, digest_of_divisors)


def show(*groups):
    """A table of all runs, then their timelines; the runs of one group are drawn to one scale."""
    name = max(len(run.how) for group in groups for run in group)
    print(f"\n  {'':<{name}}     time  speed-up  cores busy")
    for group in groups:
        for run in group:
            speed_up = group[0].seconds / run.seconds
            print(f"  {run.how:<{name}} {run.seconds:7.3f}s {speed_up:8.1f}x {run.cores_busy:11.1f}")
    others = sum(run.others for group in groups for run in group)
    others /= sum(run.seconds for group in groups for run in group)
    if others > 0.2:
        print(f"\n  Other programs used {others:.1f} cores meanwhile: these times say little.")
    columns = min(shutil.get_terminal_size((100, 24)).columns, 140)
    for group in groups:
        longest = max(run.seconds for run in group)
        label = max(len(trace["name"]) for run in group for trace in run.traces)
        width = max(columns - label - 3, 10)
        print(f"\n  full width = {longest:.3f} s; a full block = one core")
        for run in group:
            print(f"  {run.how}")
            for line in timeline.draw(run.traces, longest, width, label):
                print(f"  {line}")
    print()


def digest_of_table(table):
    rows = b"".join(b"%b %d\n" % row for row in sorted(table.items()))
    return hashlib.sha256(rows).hexdigest()


def digest_of_divisors(results):
    rows = sorted((number, list(found)) for number, found in results.items())
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def agree(runs, digest):
    """Says whether all runs came to the same result."""
    digests = {run.how: digest(run.result) for run in runs}
    if len(set(digests.values())) == 1:
        print(f"all {len(runs)} results are identical: sha256 {digests[runs[0].how]}\n")
        return True
    print("THE RESULTS DIFFER (did a file change meanwhile?):")
    for how, found in digests.items():
        print(f"  {found}  {how}")
    return False


def progress(how):
    """Shows what is running now, where somebody may be watching."""
    if sys.stderr.isatty():
        print("\r\033[K", how, sep="", end="", file=sys.stderr, flush=True)


def folder_to_count():
    if len(sys.argv) > 2:
        sys.exit("usage: demo.py [FOLDER]")
    folder = sys.argv[1] if len(sys.argv) == 2 else sysconfig.get_path("stdlib")
    try:
        os.scandir(folder).close()
    except OSError as error:
        sys.exit(f"demo: cannot read the folder {folder}: {error.strerror}")
    return folder


def main():
    folder = folder_to_count()
    workers = min(len(os.sched_getaffinity(0)), 8)
    try:
        identical = [count_words(folder, workers), find_divisors()]
    except (queue.Full, queue.Empty):
        sys.exit("demo: nothing has moved for a long time; did somebody kill a worker?")
    sys.exit(0 if all(identical) else 1)


if __name__ == "__main__":
    main()
