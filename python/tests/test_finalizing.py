"""While the interpreter finalises, in __del__ and atexit, and in threads that outlive it, all objects work or raise."""

from __future__ import annotations

import pytest

# Each step prints what came of it. `timeout` is longer than a wait goes on before it asks for signals.
PROGRAM = """
    import atexit, builtins, sys
    import tasuki

    class Plain:
        pass

    class Uses:
        def __init__(self, timeout):
            self.timeout = timeout
            self.lock, self.rlock, self.held = tasuki.Lock(), tasuki.RLock(), tasuki.Lock()
            self.semaphore, self.bounded, self.none = tasuki.Semaphore(1), tasuki.BoundedSemaphore(1), tasuki.Semaphore(0)
            self.event, self.condition = tasuki.Event(), tasuki.Condition()
            self.barrier, self.lonely = tasuki.Barrier(1), tasuki.Barrier(2)
            self.value, self.array, self.raw = tasuki.Value("i", 1), tasuki.Array("d", 3), tasuki.RawValue("l", 1)
            self.queue, self.small = tasuki.Queue(), tasuki.Queue(1)
            self.simple, self.tasks = tasuki.SimpleQueue(), tasuki.JoinableQueue()
            self.reader, self.writer = tasuki.Pipe(False)
            self.one, self.other = tasuki.Pipe()
            self.memory = tasuki.shared_memory.SharedMemory(create=True, size=9)
            self.held.acquire()
            self.small.put(1)

        def use(self, plain, say=lambda name, result: None):
            def step(name, work):
                try:
                    result = work()
                except Exception as error:
                    result = type(error).__name__
                say(name, result)

            def nested(lock):
                with lock:
                    return lock.acquire(timeout=self.timeout)

            def notified():
                with self.condition:
                    self.condition.notify_all()
                    return self.condition.wait(self.timeout)

            def counted():
                self.value.value = 1
                with self.value.get_lock():
                    self.value.value += 1
                return self.value.value

            step("lock", lambda: (self.lock.acquire(), self.lock.release()))
            step("lock wait", lambda: nested(self.lock))
            step("lock not held", lambda: self.lock.release())
            step("lock held", lambda: self.held.acquire(False))
            step("rlock", lambda: (nested(self.rlock), self.rlock.release()))
            step("semaphore", lambda: (self.semaphore.acquire(), self.semaphore.release()))
            step("semaphore with", lambda: nested(self.semaphore))
            step("semaphore wait", lambda: self.none.acquire(timeout=self.timeout))
            step("bounded", lambda: self.bounded.release())
            step("event", lambda: (self.event.wait(self.timeout), self.event.set(), self.event.wait(), self.event.clear()))
            step("condition", notified)
            step("barrier", lambda: self.barrier.wait())
            step("barrier wait", lambda: self.lonely.wait(self.timeout))
            step("value", counted)
            step("array", lambda: (self.array.__setitem__(1, 2.0), self.array[1], self.array[:]))
            step("raw", lambda: self.raw.value)
            step("queue", lambda: (self.queue.put("x"), self.queue.get()))
            step("queue large", lambda: (self.queue.put(bytes(3000000)), len(self.queue.get())))
            step("queue empty", lambda: self.queue.get_nowait())
            step("queue wait", lambda: self.queue.get(timeout=self.timeout))
            step("queue full", lambda: self.small.put(1, timeout=self.timeout))
            step("simple", lambda: (self.simple.put("y"), self.simple.get(), self.simple.empty()))
            step("tasks", lambda: (self.tasks.put(1), self.tasks.get(), self.tasks.task_done(), self.tasks.join()))
            step("pipe", lambda: (self.writer.send("x"), self.reader.recv()))
            step("pipe wait", lambda: self.reader.poll(self.timeout))
            step("pipe both ways", lambda: (self.one.send_bytes(b"a"), self.other.recv_bytes(), self.one.poll()))
            step("pickled queue", lambda: (self.queue.put(plain), type(self.queue.get()).__name__))
            step("pickled pipe", lambda: (self.one.send([plain]), type(self.other.recv()).__name__))
            step("memory", lambda: bytes(self.memory.buf[:1]))
            step("repr", lambda: len([repr(value) for value in vars(self).values()]) > 20)

        def __del__(self, plain=Plain(), print=print, flush=sys.stdout.flush):
            def say(name, result):
                print(f"{name}: {result}")
                flush()

            self.use(plain, say)
            self.one.close(), self.queue.close()
            try:
                self.other.recv()
            except EOFError:
                say("pipe end", "EOFError")

    before, where, timeout = sys.argv[1:]
    uses = Uses(float(timeout))
    memory = uses.memory
    if before == "used before":
        uses.use(Plain())
        uses.lonely.reset()
    if where == "atexit":
        atexit.register(Uses.__del__, uses)
        del Uses.__del__
    elif where == "builtins":
        builtins.kept_to_the_end = uses
        del uses
    elif where == "a cycle":
        uses.itself = uses
        del uses
    memory.unlink()
    del memory
"""

EXPECTED = """
lock: (True, None)
lock wait: False
lock not held: ValueError
lock held: False
rlock: (True, None)
semaphore: (True, None)
semaphore with: False
semaphore wait: False
bounded: ValueError
event: (False, None, True, None)
condition: False
barrier: 0
barrier wait: BrokenBarrierError
value: 2
array: (None, 2.0, [0.0, 2.0, 0.0])
raw: 1
queue: (None, 'x')
queue large: (None, 3000000)
queue empty: Empty
queue wait: Empty
queue full: Full
simple: (None, 'y', True)
tasks: (None, 1, None, None)
pipe: (None, 'x')
pipe wait: False
pipe both ways: (None, b'a', False)
pickled queue: (None, 'Plain')
pickled pipe: (None, 'list')
memory: b'\\x00'
repr: True
pipe end: EOFError
""".strip().splitlines()

#: What is pickled by its name in a module, and modules are gone by then.
NEEDS_AN_IMPORT = ("pickled queue", "pickled pipe")


@pytest.mark.parametrize(
    ("where", "timeout"), [("atexit", 0.01), ("a global", 0.6), ("builtins", 0.01), ("a cycle", 0.01)]
)
@pytest.mark.parametrize("before", ["never used", "used before"])
def test_every_object_works_or_raises(run, before: str, where: str, timeout: float) -> None:
    done = run(PROGRAM, before, where, str(timeout))
    steps = done.stdout.splitlines()
    if where in ("a global", "builtins"):
        steps = [
            expected if step.endswith(": ImportError") and step.startswith(NEEDS_AN_IMPORT) else step
            for step, expected in zip(steps, EXPECTED, strict=True)
        ]
    assert steps == EXPECTED


THREADS = """
    import sys, threading, time
    import tasuki

    def again(call):
        def run():
            while True:
                try:
                    call()
                except Exception:
                    pass
        threading.Thread(target=run, daemon=True).start()

    def wait_for_condition():
        with condition:
            condition.wait()

    def count():
        with value.get_lock():
            value.value += 1

    queue, full, tasks, busy = tasuki.Queue(), tasuki.Queue(1), tasuki.JoinableQueue(), tasuki.Queue()
    lock, semaphore, event, condition = tasuki.Lock(), tasuki.Semaphore(0), tasuki.Event(), tasuki.Condition()
    barrier, value, free = tasuki.Barrier(2), tasuki.Value("i", 0), tasuki.Lock()
    reader, writer = tasuki.Pipe(False)
    one, other = tasuki.Pipe()
    lock.acquire(), full.put(1), tasks.put(1)
    for call in (
        queue.get, lock.acquire, semaphore.acquire, event.wait, barrier.wait, tasks.join, reader.recv, wait_for_condition,
        lambda: full.put(2), lambda: queue.get(timeout=0.001), lambda: reader.poll(0.001), lambda: lock.acquire(timeout=0.001),
        lambda: (busy.put([1]), busy.get()), lambda: (free.acquire(), free.release()), lambda: (one.send([1]), other.recv()),
        count,
    ):
        again(call)
    time.sleep(float(sys.argv[1]))
"""


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.6])
def test_daemon_threads_that_wait_at_the_end(run, seconds: float) -> None:
    """The interpreter ends them in the middle of a call of ours, some of which are about to come back to it."""
    run(THREADS, str(seconds))
