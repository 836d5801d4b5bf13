"""An interpreter in a temporary folder whose standard library is made of links, with the test files rewritten.

A venv would do for most tests, but some start children with -E -S -I: those see only the standard library. In the
overlay the package tasuki and the rewritten tests ARE part of the standard library. Nothing is copied but the interpreter, where it must be, and the handful
of test files that say `multiprocessing`; the folder goes when the run is over.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent

#: Test files whose `multiprocessing` becomes `tasuki` (and every file under folders of these names).
REWRITTEN = re.compile(r"^(_test_multiprocessing|test_multiprocessing\w*|mp_\w+|test_concurrent_futures)(\.py)?$")

#: The name of the package as a word of its own: not `_multiprocessing`, not `--multiprocessing-fork`, and not in the
#: sentence "unclosed running multiprocessing pool".
PACKAGE = re.compile(r"(?<![-\w.])multiprocessing(?![-\w]|(?: pool))")

METHODS = ("fork", "spawn", "forkserver")


def locate(python: str) -> dict[str, str] | None:
    """Ask an interpreter where things are; None when it has no test suite."""
    code = (
        "import sys, sysconfig, json, os, importlib.util as u; s = u.find_spec('test._test_multiprocessing');"
        "print(json.dumps({'version': sys.version.split()[0], 'executable': os.path.realpath(sys.executable),"
        "'stdlib': sysconfig.get_path('stdlib'), 'tests': s and os.path.dirname(s.origin)}))"
    )
    import json

    try:
        answer = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, timeout=60)
        found = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return found if found["tests"] else None


def build(root: Path, interpreter: dict[str, str], package: Path | None) -> Path:
    """Lay out the overlay below `root` and return its interpreter; without a package nothing is rewritten."""
    version = ".".join(interpreter["version"].split(".")[:2])
    stdlib = Path(interpreter["stdlib"])
    library = root / "lib" / f"python{version}"
    library.mkdir(parents=True)
    (root / "bin").mkdir()
    python = root / "bin" / f"python{version}"
    if tuple(map(int, version.split("."))) < (3, 14):
        python.symlink_to(interpreter["executable"])
    else:
        shutil.copy2(interpreter["executable"], python)  # from 3.14 on, it finds its library where a link leads
    (root / "pyvenv.cfg").write_text(f"home = {root / 'bin'}\ninclude-system-site-packages = false\n")
    for entry in stdlib.iterdir():
        if entry.name not in ("site-packages", "dist-packages", "test"):
            (library / entry.name).symlink_to(entry)
    (library / "site-packages").mkdir()
    driver = library / "compat_driver"
    driver.mkdir()
    (driver / "__init__.py").touch()
    (driver / "__main__.py").symlink_to(HERE / "driver.py")
    if package is not None:
        # A copy: the package may be built anew while the tests run.
        shutil.copytree(package, library / "tasuki", ignore=shutil.ignore_patterns("__pycache__"))
    _lay_tests(library / "test", Path(interpreter["tests"]), rewrite=package is not None)
    return python


def _lay_tests(target: Path, source: Path, rewrite: bool) -> None:
    target.mkdir()
    for entry in source.iterdir():
        if entry.name == "__pycache__":
            continue
        if rewrite and REWRITTEN.match(entry.name):
            _rewrite(entry, target / entry.name)
        else:
            (target / entry.name).symlink_to(entry)
    # Some distributions strip the wrappers that run the suite for one start method each.
    for method in METHODS:
        name = f"test_multiprocessing_{method}"
        if not (source / name).exists() and not (source / f"{name}.py").exists():
            (target / f"{name}.py").write_text(
                "from test._test_multiprocessing import install_tests_in_module_dict\n"
                f"install_tests_in_module_dict(globals(), {method!r})\n"
            )


def _rewrite(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
        for entry in source.iterdir():
            if entry.name != "__pycache__":
                _rewrite(entry, target / entry.name)
    elif source.suffix == ".py":
        target.write_text(PACKAGE.sub("tasuki", source.read_text(encoding="utf-8")), encoding="utf-8")
