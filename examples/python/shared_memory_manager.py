"""Several pieces of shared memory, made for a while: at the end of the block their names go, all together.

Whoever shares memory by name has to take the names away, whatever happens in between. A manager remembers them, and
takes them away even when the block ends with an exception.
"""

import tasuki as multiprocessing
from tasuki.managers import SharedMemoryManager
from tasuki.shared_memory import ShareableList, SharedMemory


def add(name, first, last, sums, place):
    numbers = SharedMemory(name)
    ShareableList(name=sums)[place] = sum(numbers.buf[first:last])
    numbers.close()


if __name__ == "__main__":
    with SharedMemoryManager() as manager:
        numbers = manager.SharedMemory(100)
        numbers.buf[:100] = bytes(range(100))
        sums = manager.ShareableList([0, 0])
        names = [numbers.name, sums.shm.name]
        halves = [(names[0], 0, 50, names[1], 0), (names[0], 50, 100, names[1], 1)]
        processes = [multiprocessing.Process(target=add, args=half) for half in halves]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        print("sums of the halves:", *sums)
        print("together:", sum(sums))
    gone = 0
    for name in names:
        try:
            SharedMemory(name)
        except FileNotFoundError:
            gone += 1
    print("names that are gone:", gone)
