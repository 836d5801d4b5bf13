"""What the public modules share and no program should import. Parts that few programs need are loaded when one asks for them."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tasuki._private import behind, ends

__all__ = ()

_LAZY = frozenset(("behind", "ends"))


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        __import__(f"{__name__}.{name}")
        return sys.modules[f"{__name__}.{name}"]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
