"""Which names run on the engine: computed from the contexts, never kept by hand."""

from __future__ import annotations

from collections.abc import Mapping

import tasuki
from tasuki import context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ("ENGINE", "EngineNames")


class EngineNames(Mapping[str, str]):
    """A frozen mapping of the public names that run on the engine to the class that serves them.

    `"Queue" in tasuki.ENGINE` answers the usual question; `tasuki.ENGINE.standard` has the names that are still the
    standard library's own objects.
    """

    __slots__ = ("_names", "standard")

    #: The public names that are still the standard library's own objects.
    standard: tuple[str, ...]

    def __init__(self, names: Mapping[str, str], public: Iterable[str]) -> None:
        object.__setattr__(self, "_names", dict(sorted(names.items())))
        object.__setattr__(self, "standard", tuple(sorted(set(public) - set(names))))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("tasuki.ENGINE tells what is so; it cannot be changed")

    def __getitem__(self, name: str) -> str:
        return self._names[name]  # type: ignore[attr-defined, no-any-return]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self._names)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<on the engine: {', '.join(self)}; {len(self.standard)} names of the standard library>"


def _names() -> dict[str, str]:
    """The names that a context serves with a class of ours, and that class."""
    engine = context._Engine
    made = ((name, getattr(engine, name)) for name in vars(engine) if name[0].isupper())
    return {
        name: f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, type)
        else value.__annotations__["return"].removeprefix("tuple[").partition("[")[0].partition(",")[0]
        for name, value in made
        if callable(value)
    }


ENGINE = EngineNames(_names(), tasuki._STANDARD_NAMES)
