"""Libraries that take a context take ours: executors, joblib, standard objects mixed with engine objects."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import multiprocessing.managers
import multiprocessing.pool

import pytest

import tasuki


def _square(number: int) -> int:
    return number * number


@pytest.mark.parametrize("method", [*multiprocessing.get_all_start_methods(), None])
def test_process_pool_executor(method: str | None) -> None:
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=tasuki.get_context(method)) as executor:
        assert list(executor.map(_square, range(50))) == [n * n for n in range(50)]
        with pytest.raises(ValueError, match="math domain"):
            executor.submit(__import__("math").sqrt, -1).result()


def test_an_unpicklable_argument_breaks_one_future_not_the_executor(ctx: tasuki.context.BaseContext) -> None:
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=ctx) as executor:
        broken = executor.submit(lambda: None)
        with pytest.raises(Exception, match="pickle|local object"):
            broken.result(30)
        assert executor.submit(_square, 3).result(30) == 9


def test_pool_and_manager(ctx: tasuki.context.BaseContext) -> None:
    with ctx.Pool(2) as pool:
        assert pool.map(_square, range(20)) == [n * n for n in range(20)]
    with multiprocessing.pool.Pool(1, context=ctx) as pool:
        assert pool.apply(_square, (5,)) == 25
    with ctx.Manager() as manager:
        shared = manager.dict(a=1)
        assert dict(shared) == {"a": 1}
    with multiprocessing.managers.SyncManager(ctx=ctx) as manager:
        assert list(manager.list([1, 2])) == [1, 2]


_from_initializer: list[object] = []


def _initialize(*objects: object) -> None:
    _from_initializer[:] = objects


def _add(number: int) -> None:
    lock, total, log = _from_initializer
    with lock:  # type: ignore[attr-defined]
        total.value += number  # type: ignore[attr-defined]
    log.put(number)  # type: ignore[attr-defined]


def _put(arguments: tuple[object, int]) -> None:
    q, number = arguments
    q.put(number)  # type: ignore[attr-defined]


def test_our_objects_in_a_pool(ctx: tasuki.context.BaseContext) -> None:
    objects = lock, total, log = ctx.Lock(), ctx.Value("i", 0), ctx.Queue()
    with ctx.Pool(2, _initialize, objects) as pool:
        pool.map(_add, range(100))
        assert total.value == sum(range(100))
        assert sorted(log.get(timeout=120) for _ in range(100)) == list(range(100))
        # The standard library refuses queues in tasks; ours go there as tickets.
        pool.map(_put, [(log, number) for number in range(10)])
    assert sorted(log.get(timeout=120) for _ in range(10)) == list(range(10))
    assert not lock.locked()


def test_logging_through_a_queue(ctx: tasuki.context.BaseContext) -> None:
    import logging
    import logging.handlers

    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    q = ctx.Queue()
    listener = logging.handlers.QueueListener(q, handler)
    listener.start()
    process = ctx.Process(target=_log, args=(q,))
    process.start()
    process.join(120)
    listener.stop()
    assert records == ["message 0", "message 1", "message 2"]


def _log(q: object) -> None:
    import logging
    import logging.handlers

    logger = logging.getLogger("tasuki-test")
    logger.addHandler(logging.handlers.QueueHandler(q))  # type: ignore[arg-type]
    logger.setLevel("INFO")
    for number in range(3):
        logger.info("message %d", number)


def test_joblib_and_loky(run) -> None:
    """In a process of its own: loky keeps a tracker and warns about its own semaphores."""
    pytest.importorskip("joblib")
    run(
        """
        import multiprocessing
        import warnings
        import joblib
        from joblib.externals import loky
        from math import sqrt
        import tasuki

        if __name__ == "__main__":
            warnings.simplefilter("ignore")
            assert tasuki.get_context("loky") is multiprocessing.get_context("loky")
            for method in "fork", "spawn", "forkserver", "loky":
                context = tasuki.get_context(method)
                with loky.ProcessPoolExecutor(1, context=context) as executor:
                    assert executor.submit(sqrt, 4).result() == 2.0
        """
    )


def test_joblib_after_install(run) -> None:
    pytest.importorskip("joblib")
    run(
        """
        import warnings
        import joblib
        from math import sqrt

        if __name__ == "__main__":
            warnings.simplefilter("ignore")
            for backend in "loky", "multiprocessing":
                assert joblib.Parallel(2, backend=backend)(joblib.delayed(sqrt)(i) for i in range(9))[4] == 2.0
        """,
        m="tasuki",
    )


def test_a_waitpid_of_somebody_else(run) -> None:
    """gevent takes ends of processes itself, as soon as its loop comes to it, and tells of them by its own waitpid."""
    done = run(
        """
        import os, threading, tasuki

        standard, ends, loop = os.waitpid, {}, threading.Event()

        def reap():
            loop.wait(30)
            ends.update([standard(process.pid, 0)])

        def waitpid(pid, options):
            if options & os.WNOHANG:
                return (pid, ends[pid]) if pid in ends else (0, 0)
            loop.set()
            reaper.join(30)
            return pid, ends[pid]

        os.waitpid = waitpid
        process = tasuki.get_context("fork").Process(target=os._exit, args=(3,))
        reaper = threading.Thread(target=reap)
        process.start()
        reaper.start()
        process.join()
        print(process.exitcode)
        """
    )
    assert done.stdout == "3\n"
