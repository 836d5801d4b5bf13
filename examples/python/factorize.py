"""Find all divisors of some numbers by trying every candidate: work that keeps a processor busy.

Each number is independent of the others, so each gets a process, and the operating system puts the processes on
as many cores as there are. Threads would not help in Python, where one thread at a time runs Python code; `make
demo` measures exactly that, with larger numbers.
"""

import tasuki as multiprocessing

NUMBERS = [360, 1001, 8128, 65537, 99991]


def divisors(number):
    return [candidate for candidate in range(1, number + 1) if number % candidate == 0]


def work(number, results):
    results.put((number, divisors(number)))


if __name__ == "__main__":
    results = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=work, args=(n, results)) for n in NUMBERS]
    for process in processes:
        process.start()
    # The results arrive in the order in which the processes finish; sorted, the order no longer shows.
    for number, found in sorted(results.get() for _ in NUMBERS):
        print(f"{number} has {len(found)} divisors:", *found)
    for process in processes:
        process.join()
