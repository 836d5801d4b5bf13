"""A global variable is not shared between processes.

Each process has its own copy of every variable. The child counts its copy up to a thousand; the parent's stays
what it was. This is why everything that processes share has to be shared on purpose.
"""

import tasuki as multiprocessing

counter = 0


def count(seen):
    global counter
    for _ in range(1000):
        counter += 1
    seen.put(counter)


if __name__ == "__main__":
    seen = multiprocessing.Queue()
    process = multiprocessing.Process(target=count, args=(seen,))
    process.start()
    print("the child counted to", seen.get())
    process.join()
    print("the parent's counter is", counter)
