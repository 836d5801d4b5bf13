"""Ways to send and receive one object at a time between two processes, the same for every side.

A link is made before the other process is, and gives two ends: `(send, receive)` for who asks and for who answers.
"""

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass

from questions import package

Ends = tuple[Callable, Callable]


@dataclass
class Link:
    """`context` starts the process that has the second pair of ends."""

    context: object
    asker: Ends
    answerer: Ends


def pipe(name: str) -> Link:
    """The duplex Pipe of a package."""
    context = package(name).get_context("fork")
    here, there = context.Pipe()
    return Link(context, (here.send, here.recv), (there.send, there.recv))


def queues(name: str, kind: str = "Queue") -> Link:
    """Two queues of a package."""
    context = package(name).get_context("fork")
    there, back = (getattr(context, kind)() for _ in range(2))
    return Link(context, (there.put, back.get), (back.put, there.get))


def faster_fifo() -> Link:
    """Two queues of faster-fifo, which needs a timeout: the longest there is."""
    import faster_fifo

    there, back = (faster_fifo.Queue() for _ in range(2))

    def get(queue):
        return lambda: queue.get(timeout=1e6)

    context = multiprocessing.get_context("fork")
    return Link(context, (there.put, get(back)), (back.put, get(there)))
