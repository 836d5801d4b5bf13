"""A counter in shared memory, and the lock that keeps its count right.

`counter.value += 1` is three steps: read, add, write. When two processes interleave them, both read the same
number and one increment is lost. Holding the lock around the three steps makes them one: four processes count to
a thousand each, and the sum is four thousand every time. Take the `with` line away and run it again to see less.
"""

import tasuki as multiprocessing


def count(counter, lock):
    for _ in range(1000):
        with lock:
            counter.value += 1


if __name__ == "__main__":
    counter = multiprocessing.Value("q", 0)
    lock = multiprocessing.Lock()
    processes = [multiprocessing.Process(target=count, args=(counter, lock)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print("four processes counted to", counter.value)
