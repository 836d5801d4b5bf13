"""The main job: count the words of all text files below a folder.

What is counted, in both languages (the Rust twin is demo/rust/src/text.rs):
- files: regular files, links not followed, no folder named `__pycache__` or `site-packages`; what cannot be read is
  left out, and so is a file with a zero byte among its first 8192 (that is how `grep` tells binary from text);
- a word: as many bytes in a row as there are among A-Z, a-z and 128-255, with A-Z folded to a-z. Bytes, not
  characters: a word in UTF-8 stays whole, and a file in any other encoding counts too.

The parent reads, and puts pieces of text into a bounded queue; the workers take pieces and count; each sends its
table back through a second queue when an empty piece tells it that no more will come.
"""

import os
import re
import string
from collections import Counter

from timeline import Trace

PIECE = 1 << 20  # bytes of a file that travel together; longer files are cut between words
WORD_BYTES = string.ascii_letters.encode() + bytes(range(128, 256))
WORD = re.compile(rb"[a-z\x80-\xff]+")
NOT_COUNTED = {"__pycache__", "site-packages"}
WAITING = 64  # pieces in the queue before the reader has to wait
TIMEOUT = 60  # seconds without any progress: a worker must have died


def words(text):
    return WORD.findall(text.lower())


def pieces(folder):
    """Yields the text of all text files below `folder`, none of it empty, never cut inside a word."""
    for path in files(folder):
        try:
            with open(path, "rb") as file:
                yield from pieces_of(file)
        except OSError:
            continue


def files(folder):
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                yield entry.path
            elif entry.is_dir(follow_symlinks=False) and entry.name not in NOT_COUNTED:
                try:
                    yield from files(entry.path)
                except PermissionError:
                    continue


def pieces_of(file):
    block = file.read(PIECE)
    if b"\0" in block[:8192]:
        return
    rest = b""
    while len(block) == PIECE:
        text = rest + block
        end = len(text.rstrip(WORD_BYTES))
        if end:
            yield text[:end]
        rest = text[end:]
        block = file.read(PIECE)
    if text := rest + block:
        yield text


def one_after_another(folder):
    trace = Trace("main")
    table = Counter()
    for piece in pieces(folder):
        table.update(words(piece))
        trace.mark()
    return table, [trace.close()]


def count(name, jobs, tables):
    """The work of one process. The Rust twin is demo/rust/src/bin/count_worker.rs."""
    trace = Trace(name)
    table = Counter()
    while piece := jobs.get():
        table.update(words(piece))
        trace.mark()
    tables.put((trace.close(), dict(table)))


def in_processes(multiprocessing, folder, workers):
    """`multiprocessing` is the standard library's module, or tasuki: the program is the same."""
    jobs, tables = multiprocessing.Queue(WAITING), multiprocessing.Queue()
    return feed(
        folder,
        jobs,
        tables,
        [
            multiprocessing.Process(target=count, args=(f"worker {i + 1}", jobs, tables), daemon=True)
            for i in range(workers)
        ],
    )


def in_rust_workers(tasuki, program, folder, workers):
    """Python reads and adds up, programs written in Rust count: they share the two queues."""
    jobs, tables = tasuki.Queue(WAITING), tasuki.Queue()
    handles = {"jobs": jobs, "tables": tables}
    return feed(
        folder, jobs, tables, [tasuki.Command([program, f"worker {i + 1}"], handles=handles) for i in range(workers)]
    )


def feed(folder, jobs, tables, processes):
    trace = Trace("reader")
    for process in processes:
        process.start()
    for piece in pieces(folder):
        jobs.put(piece, timeout=TIMEOUT)
        trace.mark()
    for _ in processes:
        jobs.put(b"", timeout=TIMEOUT)
    total, traces = Counter(), []
    for _ in processes:
        trace.mark()
        worker, table = tables.get(timeout=TIMEOUT)
        trace.mark()
        traces.append(worker)
        total.update(table)
    for process in processes:
        process.join()
    return total, [trace.close(), *sorted(traces, key=lambda trace: trace["name"])]
