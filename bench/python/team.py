"""Processes that begin together: the same for every side."""

import ctypes
import mmap
import os
import signal
import struct
import time
from collections.abc import Callable, Sequence

Worker = Callable[[], int]

ROW = struct.Struct("qqq")  # began, ended, result
PR_SET_PDEATHSIG = 1


def only(processors: int) -> None:
    """Lets this process and those that it starts use so many processors."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:processors])


def run(context, workers: Sequence[Worker]) -> tuple[float, int]:
    """Runs each worker in a forked process of `context`; seconds from the first one's start to the last one's end, and
    the sum of what they returned."""
    board = mmap.mmap(-1, mmap.PAGESIZE)
    parent = os.getpid()
    processes = [
        context.Process(target=_work, args=(board, parent, len(workers), index, worker), daemon=True)
        for index, worker in enumerate(workers)
    ]
    for process in processes:
        process.start()
    # Whoever ends badly ends the whole run; the others would wait for ever.
    while alive := [process for process in processes if process.is_alive()]:
        alive[0].join(0.05)
        if failed := [process for process in processes if process.exitcode]:
            for process in processes:
                process.kill()
            raise RuntimeError(f"a worker ended with exit code {failed[0].exitcode}")
    rows = [ROW.unpack_from(board, (index + 1) * ROW.size) for index in range(len(workers))]
    assert all(ended for _, ended, _ in rows), "all workers were done"
    seconds = (max(ended for _, ended, _ in rows) - min(began for began, _, _ in rows)) / 1e9
    return seconds, sum(result for _, _, result in rows)


def _work(board: mmap.mmap, parent: int, count: int, index: int, worker: Worker) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    board[index] = 1
    while sum(board[:count]) < count:
        time.sleep(0.0001)
    began = time.monotonic_ns()
    result = worker()
    ended = time.monotonic_ns()
    ROW.pack_into(board, (index + 1) * ROW.size, began, ended, result)
