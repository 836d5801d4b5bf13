"""A list in shared memory with a name: numbers, texts, True, False and None, each in a place of fixed size.

Any item can be replaced by one that needs no more room, of the same kind or another one; the list cannot grow. For a
list that does, ask a manager, or put its items through a queue.
"""

import tasuki as multiprocessing
from tasuki.shared_memory import ShareableList


def train(name):
    runner = ShareableList(name=name)
    runner[1] += 1
    runner[2] -= 0.5
    runner[3] = True
    runner[4] = "4 x 100 m"
    runner.shm.close()


if __name__ == "__main__":
    runner = ShareableList(["Aiko", 16, 12.75, None, "100 metres"])
    print("before:", *runner)
    process = multiprocessing.Process(target=train, args=(runner.shm.name,))
    process.start()
    process.join()
    print("after:", *runner)
    try:
        runner[0] = "a name that is far too long for the place of the first one"
    except ValueError:
        print("too long a name does not fit:", runner[0])
    runner.shm.close()
    runner.shm.unlink()
