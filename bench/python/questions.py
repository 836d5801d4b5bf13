"""What a question is: a name, a line for the table, and the sides that answer it."""

import importlib
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, field

# Does at least this many operations; says how many it did, and in how many seconds.
Run = Callable[[int], tuple[int, float]]


@dataclass
class Side:
    """One participant. `goal` is how many times as fast as this peer tasuki is meant to be."""

    name: str
    run: Run
    goal: float | None = None
    needs: str = ""


@dataclass
class Question:
    """What is compared: tasuki first, then its peers."""

    name: str
    what: str
    sides: list[Side] = field(default_factory=list)

    def as_json(self) -> dict:
        def installed(side: Side) -> bool:
            return not side.needs or importlib.util.find_spec(side.needs) is not None

        sides = [{"name": side.name, "goal": side.goal} for side in self.sides if installed(side)]
        return {"name": self.name, "what": self.what, "sides": sides}


def timed(work: Callable[[], object]) -> float:
    """The seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def package(name: str):
    """tasuki or the standard library, imported only by the side that uses it."""
    return importlib.import_module(name)
