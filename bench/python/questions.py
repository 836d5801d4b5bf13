"""What a question is: a name, a line for the table, and the sides that answer it."""

import importlib
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, field

# "rate" does at least this many operations and says how many it did, in how many seconds. "latency" says also how many
# nanoseconds each took, and how often. "idle" waits for so many milliseconds and says what it used.
Run = Callable[[int], tuple[int, float] | tuple[int, float, list[tuple[int, int]]] | dict]


@dataclass
class Side:
    """One participant. `goal` is how many times as fast as this peer tasuki is meant to be, or, of idleness, which share
    of a processor tasuki may use at most."""

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
    kind: str = "rate"

    def answer(self, side: Side, count: int) -> dict:
        """What a side says, as JSON has it."""
        match self.kind, side.run(count):
            case "rate", (done, seconds):
                return {"operations": done, "seconds": seconds}
            case "latency", (done, seconds, nanoseconds):
                return {"operations": done, "seconds": seconds, "nanoseconds": nanoseconds}
            case "idle", used:
                return used
        raise TypeError(self.kind)

    def as_json(self) -> dict:
        def installed(side: Side) -> bool:
            return not side.needs or importlib.util.find_spec(side.needs) is not None

        sides = [{"name": side.name, "goal": side.goal} for side in self.sides if installed(side)]
        return {"name": self.name, "what": self.what, "kind": self.kind, "sides": sides}


def timed(work: Callable[[], object]) -> float:
    """The seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def package(name: str):
    """tasuki or the standard library, imported only by the side that uses it."""
    return importlib.import_module(name)
