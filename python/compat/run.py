"""CPython's own tests of multiprocessing, run with `multiprocessing` replaced by `tasuki`.

    python run.py [--python PATH]... [--futures] [-k TEXT] [--verbose]

Each test class runs in a process group of its own with a hard timeout: a hang is a failure. The same classes run on
the standard library first (kept under target/compat/ for the next time). A test that passes there and fails here must be
in allowed.txt with its reason, or the exit code is 1.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import glob
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import overlay

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
CACHE = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "compat"

MODULES = [f"test.test_multiprocessing_{method}" for method in overlay.METHODS]
MODULES += ["test.test_multiprocessing_main_handling"]
FUTURES = "test.test_concurrent_futures"

#: Seconds without any test starting or ending until the class counts as hung.
SILENCE = 120.0


@dataclasses.dataclass
class Outcome:
    """What became of one test: pass, skip, fail or hang."""

    kind: str
    why: str = ""
    seconds: float = 0.0


Outcomes = dict[str, Outcome]


@dataclasses.dataclass(frozen=True)
class Group:
    """One test class and the methods to run."""

    module: str
    cls: str
    methods: tuple[str, ...]

    def name(self, method: str) -> str:
        return f"{self.module.removeprefix('test.')}:{self.cls}.{method}"


def interpreters() -> list[str]:
    """Every python3.11 and later to be found on PATH and in pyenv's folder."""
    found: dict[str, str] = {}
    names = [f"python3.{minor}" for minor in range(11, 16)]
    candidates = [path for name in names if (path := shutil.which(name))]
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    candidates += sorted(glob.glob(f"{pyenv}/versions/3.*/bin/python3"))
    candidates.append(sys.executable)
    for candidate in candidates:
        where = overlay.locate(candidate)
        if where and tuple(map(int, where["version"].split(".")[:2])) >= (3, 11):
            found.setdefault(".".join(where["version"].split(".")[:2]), where["executable"])
    return [found[version] for version in sorted(found, key=lambda v: int(v.split(".")[1]))]


def listed(python: Path, modules: list[str]) -> list[Group]:
    command = [python, "-m", "compat_driver", "list", *modules]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if answer.returncode:
        sys.exit(f"cannot list the tests of {python}:\n{answer.stderr}")
    groups = [Group(module, cls, tuple(methods)) for module, cls, methods in json.loads(answer.stdout)]
    # Of the executors' tests only those on processes concern us.
    return [g for g in groups if not g.module.startswith(FUTURES) or g.cls.startswith("ProcessPool")]


def run_group(python: Path, group: Group, scratch: Path) -> Outcomes:
    """Run a class; after a hang or a crash go on with the methods that were still to come."""
    outcomes: Outcomes = {}
    remaining = list(group.methods)
    while remaining:
        notes = Path(tempfile.mkstemp(dir=scratch)[1])
        ended, output = _run_once(python, group, remaining, notes)
        started: dict[str, float] = {}
        for line in notes.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            method = event["test"].rsplit(".", 1)[-1]
            if event["event"] == "start":
                started[method] = event["at"]
            elif event["event"] == "skip" and event["test"].startswith("setUpClass"):
                for left in remaining:
                    outcomes[left] = Outcome("skip", event["why"])
            elif event["event"] in ("pass", "skip", "fail"):
                before = outcomes.get(method)
                if before is None or before.kind != "fail":
                    seconds = event["at"] - started.get(method, event["at"])
                    outcomes[method] = Outcome(event["event"], event.get("why", ""), seconds)
        if ended == "end":
            break
        unfinished = [method for method in remaining if method in started and method not in outcomes]
        for method in unfinished or remaining[:1]:
            outcomes[method] = Outcome("hang" if ended == "hang" else "fail", f"{ended}\n{output[-3000:]}")
        remaining = [method for method in remaining if method not in outcomes]
    for method in group.methods:
        outcomes.setdefault(method, Outcome("fail", "the class did not get to it"))
    return {group.name(method): outcome for method, outcome in outcomes.items()}


def _run_once(python: Path, group: Group, methods: list[str], notes: Path) -> tuple[str, str]:
    command = [python, "-m", "compat_driver", "run", notes, group.module, group.cls, *methods]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryDirectory(dir=notes.parent) as folder:
        environment["TMPDIR"] = folder
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            ended = _watch(child, notes)
        finally:
            child.kill()
            child.wait()
            _end_group(child.pid)
        output.seek(0)
        return ended, output.read().decode(errors="replace")


def _end_group(group: int) -> None:
    """Give the standard library's resource tracker a moment to unlink what a killed test left, then kill the rest."""
    deadline = time.monotonic() + 2
    try:
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.02)
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _watch(child: subprocess.Popen[bytes], notes: Path) -> str:
    size, since = 0, time.monotonic()
    while True:
        try:
            code = child.wait(0.2)
        except subprocess.TimeoutExpired:
            code = None
        text = notes.read_bytes()
        if code is not None:
            return "end" if b'"event": "end"' in text else f"the class ended with exit code {code}"
        if len(text) != size:
            size, since = len(text), time.monotonic()
        elif time.monotonic() - since > SILENCE:
            return "end" if b'"event": "end"' in text else "hang"


def run_all(python: Path, groups: list[Group], scratch: Path, jobs: int, label: str) -> Outcomes:
    outcomes: Outcomes = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(run_group, python, group, scratch) for group in groups]
        for number, future in enumerate(concurrent.futures.as_completed(futures), 1):
            outcomes.update(future.result())
            if sys.stderr.isatty():
                print(f"\r{label}: {number} of {len(groups)} classes ", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return outcomes


def only(groups: list[Group], text: str | None) -> list[Group]:
    """The tests whose name has this text."""
    if not text:
        return groups
    return [
        dataclasses.replace(group, methods=methods)
        for group in groups
        if (methods := tuple(method for method in group.methods if text in group.name(method)))
    ]


def baseline(
    interpreter: dict[str, str], wanted: list[str], scratch: Path, jobs: int, text: str | None = None
) -> Outcomes:
    """The outcomes on the standard library, from the cache where they are known; a file for each module.

    Of a module that is not known yet, only the tests with this text in their names are run, and then not kept.
    """
    suite = (Path(interpreter["tests"]) / "_test_multiprocessing.py").read_bytes()
    key = f"{interpreter['version']}-{hashlib.sha256(suite).hexdigest()[:12]}"
    caches = {module: CACHE / f"{module}-{key}.json" for module in wanted}
    missing = [module for module in wanted if not caches[module].exists()]
    some: Outcomes = {}
    if missing:
        python = overlay.build(scratch / "standard", interpreter, None)
        CACHE.mkdir(parents=True, exist_ok=True)
        for module in missing:
            groups = only(listed(python, [module]), text)
            outcomes = run_all(python, groups, scratch, jobs, f"{interpreter['version']} standard")
            if text:
                some.update(outcomes)
                continue
            caches[module].write_text(json.dumps({name: dataclasses.asdict(o) for name, o in outcomes.items()}))
    for cache in caches.values():
        if cache.exists():
            some.update({name: Outcome(**outcome) for name, outcome in json.loads(cache.read_text()).items()})
    return some


def allowed() -> dict[str, str]:
    """Lines `Class.method: reason`, for every start method; a class without its With… prefix stands for all of them."""
    entries = {}
    for line in (HERE / "allowed.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.partition(":")
            entries[name.strip()] = reason.strip()
    return entries


def check(python: str, options: argparse.Namespace) -> bool:
    interpreter = overlay.locate(python)
    if interpreter is None:
        print(f"{python}: no test suite in this installation")
        return False
    wanted = list(MODULES)
    if options.futures:
        name = FUTURES.rpartition(".")[2]
        if any(Path(interpreter["tests"]).glob(f"{name}*")):
            wanted.append(FUTURES)
        else:
            print(f"{python}: no {name} in this installation")
    package = Path(options.package).resolve()
    with tempfile.TemporaryDirectory(prefix="compat-") as folder:
        scratch = Path(folder)
        standard = baseline(interpreter, wanted, scratch, options.jobs, options.k)
        ours = overlay.build(scratch / "tasuki", interpreter, package)
        groups = only(listed(ours, wanted), options.k)
        groups.sort(key=lambda g: -sum(standard.get(g.name(m), Outcome("")).seconds for m in g.methods))
        began = time.monotonic()
        outcomes = run_all(ours, groups, scratch, options.jobs, f"{interpreter['version']} tasuki")
        # A failure is repeated once, alone: on a busy machine a test with a tight time can fail anywhere. A hang is not.
        failed = {
            name
            for name, outcome in outcomes.items()
            if outcome.kind == "fail" and standard.get(name, Outcome("pass")).kind == "pass"
        }
        repeated: Outcomes = {}
        for group in groups:
            again = tuple(method for method in group.methods if group.name(method) in failed)
            if again:
                repeated.update(run_group(ours, dataclasses.replace(group, methods=again), scratch))
    shaky = sorted(name for name, outcome in repeated.items() if outcome.kind != "fail")
    outcomes.update(repeated)
    return report(interpreter["version"], standard, outcomes, shaky, time.monotonic() - began, options)


def report(
    version: str, standard: Outcomes, outcomes: Outcomes, shaky: list[str], seconds: float, options: argparse.Namespace
) -> bool:
    reasons = allowed()
    worse, known = [], []
    for name in sorted(outcomes):
        if standard.get(name, Outcome("pass")).kind == "pass" and outcomes[name].kind not in ("pass", "skip"):
            cls, method = name.rpartition(":")[2].split(".", 1)
            for prefix in ("WithProcesses", "WithThreads", "WithManager"):
                cls = cls.removeprefix(prefix)
            names = {name.rpartition(":")[2], f"{cls.removeprefix('_')}.{method}"}
            (known if names & set(reasons) else worse).append(name)
    newly_skipped = [
        name
        for name, outcome in sorted(outcomes.items())
        if outcome.kind == "skip" and standard.get(name, outcome).kind == "pass"
    ]
    modules = sorted({name.split(":")[0].split(".")[0] for name in outcomes})
    print(f"CPython {version}: tests that pass on the standard library, and those of them that pass on tasuki")
    for module in modules:
        mine = [n for n in outcomes if n.split(":")[0].split(".")[0] == module]
        before = [n for n in mine if standard.get(n, Outcome("pass")).kind == "pass"]
        passed = [n for n in before if outcomes[n].kind == "pass"]
        print(f"  {module:42} {len(before):4} {len(passed):4}")
    for title, names in (
        ("fail here, for a reason given in allowed.txt", known),
        ("passed only when repeated", shaky),
        ("skipped here only", newly_skipped),
        ("PASS ON THE STANDARD LIBRARY, FAIL ON TASUKI", worse),
    ):
        if names:
            print(f"  {title}: {len(names)}")
            for name in names:
                print(f"    {outcomes[name].kind:4} {name}")
                if options.verbose and outcomes[name].why and names is not newly_skipped:
                    print("         " + outcomes[name].why.strip().replace("\n", "\n         "))
    if not worse:
        print(f"  none fails on tasuki that should not; {seconds:.0f} s")
    return not worse and not newly_skipped


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", help="an interpreter (default: every 3.11+ with its test suite)")
    parser.add_argument("--package", default=str(HERE.parent / "src" / "tasuki"), help="the package to test")
    parser.add_argument("--futures", action="store_true", help="also the process tests of concurrent.futures")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("-k", help="only tests whose name has this text")
    parser.add_argument("--verbose", action="store_true", help="print what failed")
    options = parser.parse_args()
    pythons = options.python or interpreters()
    if not pythons:
        print("no Python 3.11 or later with its test suite was found")
        return 1
    return 0 if all([check(python, options) for python in pythons]) else 1


if __name__ == "__main__":
    sys.exit(main())
