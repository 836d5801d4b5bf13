"""Runs inside the interpreter under test: lists the test classes of a module, or runs one and notes every event.

It lives in the overlay as the package `compat_driver`, started by `-m`, so that children of the spawn method find a
`__main__` they need not import. Events go to a file a line at a time, since a class that hangs is killed.
"""

import importlib
import json
import sys
import time
import unittest


class Notes(unittest.TestResult):
    """A result that writes down each start and each outcome at once."""

    def __init__(self, path):
        super().__init__()
        self.file = open(path, "a", encoding="utf-8")

    def note(self, event, test, **more):
        more.update(event=event, test=test_id(test), at=time.time())
        self.file.write(json.dumps(more) + "\n")
        self.file.flush()

    def startTest(self, test):
        super().startTest(test)
        self.note("start", test)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note("pass", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note("skip", test, why=reason)

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.note("pass", test)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.note("fail", test, why="unexpected success")

    def addError(self, test, err):
        super().addError(test, err)
        self.note("fail", test, why=self._exc_info_to_string(err, test))

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note("fail", test, why=self._exc_info_to_string(err, test))

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.note("fail", test, why=f"{subtest}\n{self._exc_info_to_string(err, test)}")


def test_id(test):
    """Class and method; a fixture that failed has an id of its own form."""
    method = getattr(test, "_testMethodName", None)
    return f"{type(test).__qualname__}.{method}" if method else str(test)


def classes(module_name):
    """The test classes of a module or of the modules in a package, as (module, class, methods)."""
    loader = unittest.TestLoader()
    found = []

    def walk(suite):
        for item in suite:
            if isinstance(item, unittest.TestSuite):
                walk(item)
            elif isinstance(item, unittest.TestCase):
                found.append((type(item).__module__, type(item).__qualname__, item._testMethodName))

    walk(loader.loadTestsFromName(module_name))
    grouped = {}
    for module, cls, method in found:
        grouped.setdefault((module, cls), []).append(method)
    return [[module, cls, methods] for (module, cls), methods in grouped.items()]


def main(command, *args):
    if command == "list":
        print(json.dumps([entry for name in args for entry in classes(name)]))
        return
    notes, module_name, class_name, *methods = args
    module = importlib.import_module(module_name)
    cls = getattr(module, class_name)
    suite = unittest.TestSuite(map(cls, methods))
    result = Notes(notes)
    suite.run(result)
    result.note("end", "end")


if __name__ == "__main__":
    main(*sys.argv[1:])
