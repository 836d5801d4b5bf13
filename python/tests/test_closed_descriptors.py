"""A daemon closes all descriptors, and opens files of its own under the same numbers."""

import subprocess
import sys

PROGRAM = """
import os
import tasuki

def make():
    return [
        [tasuki.Lock() for _ in range(100)],
        [tasuki.Condition() for _ in range(100)],
        [tasuki.Value("d", 1.5) for _ in range(100)],
        [tasuki.Array("i", range(n)) for n in (1, 1000, 5000, 20000, 100000)],
        [tasuki.Pipe() for _ in range(10)],
        [tasuki.Queue(), tasuki.JoinableQueue(3), tasuki.SimpleQueue()],
        [tasuki.Event(), tasuki.Barrier(2), tasuki.Semaphore(2)],
    ]

def child(queue, array):
    array[3] += 1
    queue.put(b"large" * 100_000)

SIZE = 2_000_000
full = tasuki.Queue()
for _ in range(2):
    full.put(bytearray(b"L" * SIZE))
kept = [tasuki.Lock(), tasuki.Array("i", 10), tasuki.Array("i", 1000), tasuki.Array("i", 100000)]

os.closerange(0, 1000)
os.open(os.devnull, os.O_RDWR), os.dup(0), os.open("errors", os.O_CREAT | os.O_RDWR)
files = [os.open(f"file-{i}", os.O_CREAT | os.O_RDWR) for i in range(40)]
for file in files:
    os.write(file, b"A" * SIZE)

def check(what):
    for number, file in enumerate(files):
        with open(f"file-{number}", "rb") as whole:
            assert whole.read() == b"A" * SIZE, f"after {what}: file-{number} was written to"
        os.fstat(file)

with kept[0]:
    pass
for array in kept[1:]:
    array[3] = 1
for _ in range(3):
    made = make()
    check("making")
    del made
    check("dropping what was made")
for letter in b"LL":
    large = full.get(timeout=120)
    assert type(large) is bytearray and len(large) == SIZE and large.count(letter) == SIZE
check("getting what was put before")
del large
queue, array = tasuki.Queue(), tasuki.Array("i", 1000)
process = tasuki.get_context("fork").Process(target=child, args=(queue, array))
process.start()
assert len(queue.get(timeout=120)) == 500_000
process.join()
assert array[3] == 1 and process.exitcode == 0
check("a process")
kept.clear()
check("dropping what was there before")
os._exit(7)
"""


def test_files_of_a_daemon_that_closed_all_descriptors_are_left_alone(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run([sys.executable, str(program)], cwd=tmp_path, timeout=120)
    errors = tmp_path / "errors"
    assert done.returncode == 7, errors.read_text() if errors.exists() else "it ended before"
