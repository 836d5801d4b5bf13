"""The second job: all divisors of four large numbers, by trying every candidate.

It is nothing but computing, so it shows what threads and processes are good for. In Python one thread at a time
runs Python code: four threads make progress together (concurrency), but not faster. Four processes run on as many
cores as there are (parallelism). In Rust threads do that too. The Rust twin is demo/rust/src/bin/divisors.rs.
"""

import threading
import time

from timeline import Trace

NUMBERS = [53541233, 21235343, 11421443, 5423123]
STRETCH = 1 << 18  # candidates tried between two marks in the trace


def divisors(number, trace):
    found = []
    for low in range(1, number + 1, STRETCH):
        high = min(low + STRETCH, number + 1)
        found += [candidate for candidate in range(low, high) if number % candidate == 0]
        trace.mark()
    return found


def one_after_another():
    trace = Trace("main")
    results = {number: divisors(number, trace) for number in NUMBERS}
    return results, [trace.close()]


def in_threads():
    results, traces = {}, []

    def work(number):
        trace = Trace(str(number), clock=time.thread_time)
        results[number] = divisors(number, trace)
        traces.append(trace.close())

    threads = [threading.Thread(target=work, args=(number,)) for number in NUMBERS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, in_order(traces)


def work(number, done):
    trace = Trace(str(number))
    found = divisors(number, trace)
    done.put((number, found, trace.close()))


def in_processes(multiprocessing):
    """`multiprocessing` is the standard library's module, or tasuki: the program is the same."""
    done = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=work, args=(n, done), daemon=True) for n in NUMBERS]
    for process in processes:
        process.start()
    results, traces = {}, []
    for _ in processes:
        number, found, trace = done.get()
        results[number] = found
        traces.append(trace)
    for process in processes:
        process.join()
    return results, in_order(traces)


def in_order(traces):
    """In the order of the numbers, whoever finished first."""
    return sorted(traces, key=lambda trace: NUMBERS.index(int(trace["name"])))
