"""Many look up prices while one changes them: those who look do not wait for each other.

A price list is only whole between two changes. Under `read()` any number of processes look at it at the same time; under
`write()` one is alone with it. If the one that writes were killed in the middle, the next one to come would be told.
"""

import tasuki as multiprocessing

READERS = 3
LOOKS = 200
CHANGES = 20


def look(lock, prices, sums):
    seen = 0
    for _ in range(LOOKS):
        with lock.read():
            net, tax = prices
        assert tax * 5 == net, "half changed"
        seen += 1
    sums.put(seen)


def change(lock, prices):
    for _ in range(CHANGES):
        with lock.write():
            prices[0] += 5
            prices[1] += 1


if __name__ == "__main__":
    lock = multiprocessing.RwLock()
    prices, sums = multiprocessing.RawArray("i", [100, 20]), multiprocessing.Queue()
    readers = [multiprocessing.Process(target=look, args=(lock, prices, sums)) for _ in range(READERS)]
    writer = multiprocessing.Process(target=change, args=(lock, prices))
    for process in [*readers, writer]:
        process.start()
    print("looks:", sum(sums.get() for _ in readers))
    for process in [*readers, writer]:
        process.join()
    print("prices:", list(prices))
