"""A value and an array in shared memory: what one process writes, all others read.

Both bring along a lock of their own. Two processes square one half of the numbers each; the array is changed in place,
and the value gathers what they found. `fetch_add` would do without the lock, but only tasuki has it.
"""

import tasuki as multiprocessing


def square(numbers, first, last, total):
    part = 0.0
    for i in range(first, last):
        numbers[i] *= numbers[i]
        part += numbers[i]
    with total.get_lock():
        total.value += part


if __name__ == "__main__":
    numbers = multiprocessing.Array("i", range(10))
    total = multiprocessing.Value("d", 0.0)
    halves = [(0, 5), (5, 10)]
    processes = [multiprocessing.Process(target=square, args=(numbers, *half, total)) for half in halves]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print("the array:", *numbers)
    print("the value:", total.value)
