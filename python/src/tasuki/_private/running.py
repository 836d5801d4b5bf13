"""Run a program as `__main__` with tasuki installed: what Python's own `main` does for each form of its command line.

The fresh `__main__` stays in `sys.modules` for good: children look there for what they have to import, and objects
defined in it are pickled by that name. Imports little: this is on the way of each program's start.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import io
import os
import runpy
import sys
from importlib.util import MAGIC_NUMBER
from types import CodeType, ModuleType, TracebackType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ("run_code", "run_module", "run_path", "run_stdin")


def run_path(path: str, args: list[str]) -> None:
    """Run a script, compiled or not, or a folder or zip file that has a `__main__.py`."""
    sys.argv = [path, *args]
    absolute = os.getcwd() if path == "." else os.path.join(os.getcwd(), path)
    if _is_importable(absolute):
        if sys.flags.safe_path:
            sys.path.insert(0, absolute)
        else:
            sys.path[0] = absolute
        _fresh_main()
        _run(runpy._run_module_as_main, "__main__", False)  # type: ignore[attr-defined]
        return
    try:
        with io.open_code(absolute) as file:
            content = file.read()
    except OSError as error:
        sys.stderr.write(f"{sys.orig_argv[0]}: can't open file {absolute!r}: [Errno {error.errno}] {error.strerror}\n")
        sys.exit(2)
    _first_on_path(os.path.dirname(os.path.realpath(absolute)))
    main = _fresh_main()
    main.__file__ = absolute
    if sys.version_info < (3, 15):
        main.__cached__ = None  # type: ignore[attr-defined]
    compiled = absolute.endswith(".pyc") or content[:2] == MAGIC_NUMBER[:2]
    if compiled:
        main.__loader__ = importlib.machinery.SourcelessFileLoader("__main__", absolute)
    else:
        main.__loader__ = importlib.machinery.SourceFileLoader("__main__", absolute)
    _run(_execute, (_unmarshal if compiled else _compile)(content, absolute), main)


def run_module(name: str, args: list[str]) -> None:
    """Run a module, or a package's `__main__`, by name."""
    sys.argv = ["-m", *args]
    _first_on_path(os.getcwd())
    _fresh_main()
    _run(runpy._run_module_as_main, name)  # type: ignore[attr-defined]


def run_code(source: str, args: list[str]) -> None:
    """Run a program given as text."""
    sys.argv = ["-c", *args]
    _first_on_path("")
    if sys.version_info >= (3, 14) and source[:1].isspace():
        import textwrap

        source = textwrap.dedent(source)
    main = _fresh_main()
    _run(_execute, _compile(source, "<string>"), main)


def run_stdin(args: list[str]) -> None:
    """Run what is read from the standard input, at once or, at a terminal, line by line."""
    sys.argv = ["-", *args]
    _first_on_path("")
    main = _fresh_main()
    if sys.stdin.isatty():
        import code

        code.interact(local=main.__dict__, exitmsg="")
        return
    main.__file__ = "<stdin>"
    if sys.version_info < (3, 15):
        main.__cached__ = None  # type: ignore[attr-defined]
    _run(_execute, _compile(sys.stdin.buffer.read(), "<stdin>"), main)


def _first_on_path(folder: str) -> None:
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _is_importable(path: str) -> bool:
    """Whether modules can be imported from there: a folder, or a zip file, whatever it is called."""
    for hook in sys.path_hooks:
        try:
            hook(path)
        except ImportError:
            continue
        return True
    return False


def _fresh_main() -> ModuleType:
    main = ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    main.__loader__ = importlib.machinery.BuiltinImporter  # type: ignore[assignment]
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    return main


def _compile(source: str | bytes, name: str) -> Callable[[], CodeType]:
    def code() -> CodeType:
        # Not with what this file imports from __future__.
        compiled: CodeType = compile(source, name, "exec", dont_inherit=True)
        if isinstance(source, str) and sys.version_info >= (3, 13):
            _show_lines(compiled, source, name)
        return compiled

    return code


def _show_lines(code: CodeType, source: str, name: str) -> None:
    """Let tracebacks show the lines of code that is in no file, as Python's own do from 3.13 on."""
    import linecache

    if sys.version_info >= (3, 14):
        linecache._register_code(code, source, name)  # type: ignore[attr-defined]
    else:
        linecache.cache[name] = len(source), None, [line + "\n" for line in source.splitlines()], name


def _unmarshal(content: bytes, path: str) -> Callable[[], CodeType]:
    def code() -> CodeType:
        import marshal

        if content[:4] != MAGIC_NUMBER:
            raise RuntimeError("Bad magic number in .pyc file")
        return marshal.loads(content[16:])  # type: ignore[no-any-return]

    return code


def _execute(code: Callable[[], CodeType], main: ModuleType) -> None:
    exec(code(), main.__dict__)


def _run(function: Callable[..., Any], *args: Any) -> None:
    """Call what runs the program. An exception that leaves it is shown without what is ours around it."""
    try:
        function(*args)
    except SystemExit:
        raise
    except BaseException as error:
        # `_execute` is ours as well; `runpy` is in Python's own tracebacks.
        skipped = 2 if function is _execute else 1
        program = error.__traceback__
        for _ in range(skipped):
            program = program and program.tb_next
        if program is not None and program.tb_frame.f_code.co_filename == __file__:
            program = None  # it was not even compiled
        _show_only(error, program)
        raise


def _show_only(error: BaseException, program: TracebackType | None) -> None:
    """Let the program's hook for exceptions, or Python's, see this one as if we were not there."""
    hook = sys.excepthook

    def excepthook(kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> None:
        if value is error:
            sys.last_traceback = traceback = program
            value.__traceback__ = program
        hook(kind, value, traceback)

    sys.excepthook = excepthook
