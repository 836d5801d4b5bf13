"""Fizz buzz three times: one after another, in threads, in processes.

The same function does the work each time; only who calls it changes. One after another, a single worker has the
whole range. Threads split it and share the program's memory, so each can append to one list. Processes split it
too, but each has a memory of its own: what they find has to be handed over, here through a queue.
"""

import threading

import tasuki as multiprocessing

NUMBERS = range(1, 31)
WORKERS = 3


def fizz_buzz(number):
    if number % 15 == 0:
        return "FizzBuzz"
    if number % 5 == 0:
        return "Buzz"
    if number % 3 == 0:
        return "Fizz"
    return str(number)


def one_after_another():
    return [fizz_buzz(number) for number in NUMBERS]


def in_threads():
    found = []

    def work(share):
        for number in share:
            found.append((number, fizz_buzz(number)))

    threads = [threading.Thread(target=work, args=(NUMBERS[i::WORKERS],)) for i in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [word for _, word in sorted(found)]


def work(share, found):
    for number in share:
        found.put((number, fizz_buzz(number)))


def in_processes():
    found = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=work, args=(NUMBERS[i::WORKERS], found)) for i in range(WORKERS)]
    for process in processes:
        process.start()
    # Take everything out before joining: a process is not over while its messages wait to be read.
    words = [word for _, word in sorted(found.get() for _ in NUMBERS)]
    for process in processes:
        process.join()
    return words


if __name__ == "__main__":
    print("one after another:", *one_after_another())
    print("in threads:       ", *in_threads())
    print("in processes:     ", *in_processes())
