"""Which names run on the engine: computed from the contexts, never kept by hand."""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ("EngineNames",)


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
