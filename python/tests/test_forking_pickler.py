"""A pickler that a program puts in the place of the standard library's is used for what is pickled, as it is there."""

from __future__ import annotations

import pytest

# `Kept` cannot be pickled by name, only by the program's own pickler, which is asked for in five ways.
PROGRAM = """
    import io, pickle, sys

    calls = []

    class Pickler(pickle.Pickler):
        def reducer_override(self, obj):
            if getattr(obj, "__name__", "") == "<lambda>":
                calls.append("dumps")
                return eval, ("lambda x: x + %d" % obj(0),)
            return NotImplemented

    def dumps(obj, protocol=None):
        file = io.BytesIO()
        Pickler(file, protocol).dump(obj)
        return file.getbuffer()

    def loads(data):
        calls.append("loads")
        return pickle.loads(data)

    import multiprocessing.context
    from multiprocessing import reduction

    {patch}

    import {package} as mp

    def child(connection, queue):
        connection.send(queue.get()(1))
        connection.send(lambda x: x + 5)
        connection.recv()

    if __name__ == "__main__":
        add = lambda x: x + 1
        queue, simple, (ours, theirs) = mp.Queue(), mp.SimpleQueue(), mp.Pipe()
        for put, get in ((queue.put, queue.get), (simple.put, simple.get), (ours.send, theirs.recv)):
            del calls[:]
            put([add, 2, "text"])
            function, number, text = get()
            print(function(1), number, text, *calls)
        print(pickle.loads(bytes(simple._reader.recv_bytes()))(2)) if simple.put(add) is None else 0
        process = mp.get_context("fork").Process(target=child, args=(theirs, queue))
        process.start()
        queue.put(add)
        print(ours.recv(), ours.recv()(1))
        ours.send("done")
        process.join()
        with mp.get_context("fork").Pool(1) as pool:
            print(pool.map(add, [1, 2]))
"""

IN_THE_CLASS = (
    "reduction.ForkingPickler.dumps = staticmethod(dumps); reduction.ForkingPickler.loads = staticmethod(loads)"
)
ANOTHER_CLASS = """
    class Another(Pickler):
        dumps, loads, register = staticmethod(dumps), staticmethod(loads), reduction.ForkingPickler.register
    """

PATCHES = {
    "functions of the class": IN_THE_CLASS,
    "another class": ANOTHER_CLASS + "reduction.ForkingPickler = Another",
    "another class where it is used": ANOTHER_CLASS
    + """
    import multiprocessing.connection, multiprocessing.queues
    multiprocessing.connection._ForkingPickler = multiprocessing.queues._ForkingPickler = Another""",
    "a hook in the class": """
    reduction.ForkingPickler.reducer_override = Pickler.reducer_override
    reduction.ForkingPickler.loads = staticmethod(loads)""",
    "a reducer": ANOTHER_CLASS
    + """
    class Reducer(reduction.AbstractReducer):
        ForkingPickler = Another
        def dump(self, obj, file, protocol=None):
            file.write(dumps(obj, protocol))
    multiprocessing.context._default_context.reducer = Reducer()""",
}

EXPECTED = """
2 2 text dumps loads
2 2 text dumps loads
2 2 text dumps loads
3
2 6
[2, 3]
""".lstrip()


@pytest.mark.parametrize("package", ["multiprocessing", "tasuki"])
@pytest.mark.parametrize("patch", PATCHES)
def test_a_pickler_of_the_program(run, patch: str, package: str) -> None:
    done = run(PROGRAM.replace("{patch}", PATCHES[patch]).replace("{package}", package))
    assert done.stdout == EXPECTED


def test_it_is_looked_up_for_each_message(run) -> None:
    """Replaced for a while, as tests and libraries do, after messages went the quick way."""
    done = run(
        """
        from multiprocessing import reduction
        from unittest import mock
        import tasuki

        seen = []
        original = reduction.ForkingPickler.dumps

        def dumps(obj, protocol=None):
            seen.append(obj)
            return original(obj, protocol)

        queue = tasuki.Queue()
        def there_and_back(obj):
            queue.put(obj)
            assert queue.get() == obj
        there_and_back([1])
        with mock.patch.object(reduction.ForkingPickler, "dumps", dumps):
            there_and_back([2])
        there_and_back([3])
        print(seen)
        """
    )
    assert done.stdout == "[[2]]\n"
