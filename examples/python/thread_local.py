"""What a worker has for itself: a thread what is thread-local, a process everything.

The same function counts in two places, run by threads and by processes; `workers` is all that differs. What is in a
`threading.local` every thread has for itself. An ordinary global is one for all threads, and one for each process.
"""

import threading

import tasuki as multiprocessing
from tasuki import dummy as threads

own = threading.local()
everybody = 0


def count(number, lock, results):
    global everybody
    own.count = 0
    for _ in range(number):
        own.count += 1
        with lock:
            everybody += 1
    results.put(own.count)


def run(workers):
    lock, results = workers.Lock(), workers.Queue()
    started = [workers.Process(target=count, args=(number, lock, results)) for number in (10, 20, 30)]
    for worker in started:
        worker.start()
    for worker in started:
        worker.join()
    return sorted(results.get() for _ in started)


if __name__ == "__main__":
    print("each thread counted for itself:", *run(threads))
    print("and all together, in the same memory:", everybody)
    everybody = 0
    print("each process counted for itself:", *run(multiprocessing))
    print("and none of that arrived in the memory of this one:", everybody)
