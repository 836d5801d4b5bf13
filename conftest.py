"""What the tests of the examples and of the demo share."""

import os
import signal
import subprocess

import pytest


@pytest.fixture
def program():
    """Runs a program to its end: `program(*words, cwd=None)`; one that hangs is killed with all its children."""

    def run(*words, cwd=None, timeout=300):
        command = [str(word) for word in words]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        ) as process:
            try:
                output, errors = process.communicate(timeout=timeout)
            finally:
                # Whoever is still there has lost its parent, or hangs.
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        return subprocess.CompletedProcess(command, process.returncode, output, errors)

    return run
