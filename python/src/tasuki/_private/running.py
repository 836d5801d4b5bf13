"""Run a script or a module as `__main__` with tasuki installed, as `python script` and `python -m module` would.

The fresh `__main__` stays in `sys.modules` for good: children look there for what they have to import, and objects
defined in it are pickled by that name.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import io
import os
import sys
from types import CodeType, ModuleType

__all__ = ("run_code", "run_module", "run_path")


def _fresh_main() -> ModuleType:
    main = ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    return main


def _execute(code: CodeType, main: ModuleType) -> None:
    exec(code, main.__dict__)


def run_path(path: str, args: list[str]) -> None:
    """Run a script, or a folder or zip file that has a `__main__.py`."""
    sys.argv = [path, *args]
    if os.path.isdir(path) or path.endswith((".zip", ".pyz", ".pyzw")):
        sys.path[0] = path
        _run_spec(importlib.machinery.PathFinder.find_spec("__main__", [path]), path)
        return
    with io.open_code(os.path.abspath(path)) as file:
        source = file.read()
    sys.path[0] = os.path.dirname(os.path.abspath(path))
    main = _fresh_main()
    main.__file__ = path
    main.__spec__ = None
    _execute(compile(source, path, "exec"), main)


def run_module(name: str, args: list[str]) -> None:
    """Run a module, or a package's `__main__`, by name."""
    sys.argv = ["-m", *args]
    sys.path[0] = os.getcwd()
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        name += ".__main__"
        spec = importlib.util.find_spec(name)
    _run_spec(spec, name)


def run_code(source: str, args: list[str]) -> None:
    """Run a program given as text."""
    sys.argv = ["-c", *args]
    sys.path[0] = ""
    main = _fresh_main()
    main.__spec__ = None
    _execute(compile(source, "<string>", "exec"), main)


def _run_spec(spec: importlib.machinery.ModuleSpec | None, what: str) -> None:
    loader = spec and spec.loader
    if spec is None or loader is None or not hasattr(loader, "get_code"):
        sys.exit(f"{sys.executable}: cannot find anything to run in {what!r}")
    code = loader.get_code(spec.name)
    if code is None:
        sys.exit(f"{sys.executable}: there is no code in {what!r}")
    main = _fresh_main()
    main.__spec__ = spec
    main.__loader__ = loader  # type: ignore[assignment]
    main.__package__ = spec.parent
    if spec.origin is not None:
        main.__file__ = sys.argv[0] = spec.origin
    _execute(code, main)
