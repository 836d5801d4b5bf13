"""What works in a process that may have little address space, or only short files: everything small."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import sys

import tasuki


def limit(kind, most):
    resource.setrlimit(kind, (most, most))


def square(x):
    return x * x


def child(queue, kind, most):
    limit(kind, most)
    queue.put("hello")
    queue.put(bytes(1 << 17))
    queue.put(list(range(1000)))


def everything():
    queues = [tasuki.Queue() for _ in range(64)]
    for queue in queues:
        queue.put(["text"] * 100)
        queue.put(bytes(100_000))
    for queue in queues:
        assert (queue.get(timeout=120), queue.get(timeout=120)) == (["text"] * 100, bytes(100_000))
    reader, writer = tasuki.Pipe()
    writer.send([1])
    assert reader.recv() == [1]
    with tasuki.Lock(), tasuki.RLock(), tasuki.Semaphore(), tasuki.Condition():
        pass
    event = tasuki.Event()
    event.set()
    assert event.is_set()
    assert tasuki.Value("i", 3).value == 3
    assert tasuki.Array("d", 10)[:] == [0.0] * 10
    with tasuki.Pool(2) as pool:
        assert pool.map(square, range(4)) == [0, 1, 4, 9]


if __name__ == "__main__":
    kind, most = getattr(resource, sys.argv[1]), int(sys.argv[2])
    for method in ("fork", "spawn", "forkserver"):
        context = tasuki.get_context(method)
        queue = context.JoinableQueue()
        process = context.Process(target=child, args=(queue, kind, most))
        process.start()
        assert [type(queue.get(timeout=120)) for _ in range(3)] == [str, bytes, list], method
        process.join()
        assert process.exitcode == 0
    limit(kind, most)
    everything()
    if kind == resource.RLIMIT_FSIZE:
        for too_long in (lambda: tasuki.Array("d", 10_000_000), lambda: tasuki.Queue().put(bytes(80_000_000))):
            try:
                too_long()
            except MemoryError as error:
                assert "RLIMIT_FSIZE" in str(error), error
            else:
                raise AssertionError("memory that is longer than files may be")
"""


@pytest.mark.parametrize(
    ("kind", "most"),
    [("RLIMIT_AS", 1 << 30), ("RLIMIT_FSIZE", 1 << 20), ("RLIMIT_FSIZE", 16 << 20)],
)
def test_everything_small_works_under_limits(tmp_path, kind, most):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run([sys.executable, str(program), kind, str(most)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
