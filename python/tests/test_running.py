"""`python -m tasuki` for `python`: each form of the command line, and each way to end, gives what Python itself gives."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

# Says all that a program can see of how it was started, then ends as it is told.
PROGRAM = '''
    """The program's own text."""
    import sys

    class Annotated:
        number: int

    main = sys.modules["__main__"]
    names = dict(vars(main))
    for name in ("__name__", "__file__", "__cached__", "__package__", "__doc__", "__annotations__", "__builtins__"):
        print(name, names.get(name, "missing"))
    spec = names["__spec__"]
    print("spec", spec and (spec.name, spec.origin, spec.parent, spec.cached, type(spec.loader)))
    loader = names["__loader__"]
    print("loader", loader if isinstance(loader, type) else type(loader), getattr(loader, "name", 0), getattr(loader, "path", 0))
    print("names", sorted(names))
    print("argv", sys.argv)
    print("path", sys.path[0], len(sys.path))
    print("annotations", getattr(Annotated, "__annotations__", None))
    print("main", __name__, sys.modules["__mp_main__"] is main if "__mp_main__" in sys.modules else True, flush=True)

    def end(how):
        if how == "raise":
            raise ValueError("raised by the program") from KeyError("cause")
        if how == "exit 3":
            sys.exit(3)
        if how == "exit with a text":
            sys.exit("said at exit")
        if how == "interrupt":
            raise KeyboardInterrupt
        if how == "a hook":
            def hook(kind, value, traceback):
                while traceback.tb_next:
                    print(traceback.tb_frame.f_code.co_name, traceback.tb_lineno)
                    traceback = traceback.tb_next
                print(kind.__name__, value, value.__traceback__.tb_frame.f_code.co_name)
            sys.excepthook = hook
            raise ValueError("for the hook")
        if how == "compile":
            compile("import nothing as 5", "inner", "exec")

    end(sys.argv[1] if len(sys.argv) > 1 else "")
'''
SOURCE = textwrap.dedent(PROGRAM)

ENDS = ["", "raise", "exit 3", "exit with a text", "interrupt", "a hook", "compile"]

FORMS: dict[str, list[str]] = {
    "a script": ["program.py"],
    "a script below": ["./program.py"],
    "a script in a folder": ["package/program.py"],
    "a script by its whole path": ["{here}/program.py"],
    "a script without suffix": ["plain"],
    "a link to a script": ["links/link.py"],
    "a link to a link": ["link"],
    "a script in a linked folder": ["linked/program.py"],
    "compiled": ["program.pyc"],
    "compiled without suffix": ["compiled"],
    "a folder": ["folder"],
    "this folder": ["."],
    "a zip file": ["program.zip"],
    "an application": ["application"],
    "a link to an application": ["links/application"],
    "a module": ["-m", "program"],
    "a module in a package": ["-m", "package.program"],
    "a package": ["-m", "package"],
    "code": ["-c", SOURCE],
    "standard input": ["-"],
}

#: What does not even begin.
FAULTS: dict[str, list[str]] = {
    "no such script": ["missing.py"],
    "no such script below": ["./missing"],
    "no such module": ["-m", "missing"],
    "no such package": ["-m", "missing.module"],
    "a package that is no program": ["-m", "empty"],
    "a folder that is no program": ["empty"],
    "an empty zip file": ["empty.zip"],
    "a module that raises when it is imported": ["-m", "raises.program"],
    "a mistake": ["mistake.py"],
    "a mistake in code": ["-c", "1 +"],
    "a mistake in a module": ["-m", "mistake"],
    "a mistake in a folder": ["mistaken"],
    "compiled by another version": ["old.pyc"],
    "an error in code": ["-c", "def f():\n    1 / 0\nf()"],
    "indented code": ["-c", "  print(1)"],
}

FINE: dict[str, list[str]] = {
    "another encoding": ["latin.py"],
    "a byte order mark": ["mark.py"],
    "with a future import": ["future.py"],
    "an empty file": ["nothing.py"],
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("running")
    for name in ("package", "empty", "folder", "links", "raises", "mistaken"):
        (folder / name).mkdir()
    for name in (
        "program.py",
        "plain",
        "__main__.py",
        "folder/__main__.py",
        "package/__main__.py",
        "package/program.py",
    ):
        (folder / name).write_text(SOURCE)
    for name in ("package", "empty"):
        (folder / name / "__init__.py").touch()
    (folder / "raises" / "__init__.py").write_text("raise ImportError('for a reason')")
    (folder / "raises" / "program.py").touch()
    for name in ("mistake.py", "mistaken/__main__.py"):
        (folder / name).write_text("x = 1\nif x\n    pass\n")
    (folder / "links" / "link.py").symlink_to("../package/program.py")
    (folder / "link").symlink_to("links/link.py")
    (folder / "linked").symlink_to("package")
    py_compile.compile(str(folder / "program.py"), str(folder / "program.pyc"), doraise=True)
    (folder / "compiled").write_bytes((folder / "program.pyc").read_bytes())
    (folder / "old.pyc").write_bytes(b"\x01\x02\r\n" + (folder / "program.pyc").read_bytes()[4:])
    for name in ("program.zip", "application", "empty.zip"):
        with open(folder / name, "wb") as file:
            if name == "application":
                file.write(b"#!/usr/bin/env python3\n")
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("module.py" if name == "empty.zip" else "__main__.py", SOURCE)
    (folder / "links" / "application").symlink_to("../application")
    (folder / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))\n")
    (folder / "mark.py").write_bytes(b"\xef\xbb\xbfprint('marked')\n")
    (folder / "future.py").write_text("from __future__ import annotations\n" + SOURCE.partition('text."""')[2])
    (folder / "nothing.py").touch()
    return folder


def _both(here: Path, form: list[str], options: list[str], *args: str) -> list[tuple[int, str, str]]:
    """What became of it with Python alone, and with tasuki between."""
    form = [part.replace("{here}", str(here)) if len(part) < 50 else part for part in form]
    outcomes = []
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    for between in ([], ["-m", "tasuki"]):
        done = subprocess.run(
            [sys.executable, *options, *between, *form, *args],
            cwd=here,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            input=SOURCE if form == ["-"] else "",
        )
        outcomes.append((done.returncode, done.stdout, done.stderr))
    return outcomes


#: Each form with one end, and each end with the forms that are run in ways of their own.
CASES = [(form, "raise") for form in FORMS]
CASES += [(form, end) for form in ("a script", "a folder", "a module", "code", "standard input") for end in ENDS]


@pytest.mark.parametrize(("form", "end"), sorted(set(CASES)))
def test_each_form_with_each_end(here: Path, form: str, end: str) -> None:
    alone, ours = _both(here, FORMS[form], ["-B"], *([end, "--flag", "-x"] if end else []))
    assert alone[1].startswith("__name__ __main__")
    assert ours == alone


@pytest.mark.parametrize("form", FORMS)
def test_a_safe_path(here: Path, form: str) -> None:
    """With -P modules of the current folder are not found by name, with tasuki neither."""
    alone, ours = _both(here, FORMS[form], ["-P", "-B", "-O"])
    assert ours == alone


@pytest.mark.parametrize("form", FAULTS)
def test_what_cannot_be_run(here: Path, form: str) -> None:
    alone, ours = _both(here, FAULTS[form], ["-B"])
    assert ours == alone


@pytest.mark.parametrize("form", FINE)
def test_contents(here: Path, form: str) -> None:
    alone, ours = _both(here, FINE[form], ["-B"])
    assert alone[0] == 0
    assert ours == alone
