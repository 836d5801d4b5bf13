"""A producer and two consumers around one queue.

The queue carries the work and evens it out: whoever is free takes the next piece. It is bounded, so a producer
that runs ahead waits until there is room again. One `None` for each consumer says that no more will come.
"""

import tasuki as multiprocessing

CONSUMERS = 2


def produce(jobs):
    for number in range(1, 101):
        jobs.put(number)
    for _ in range(CONSUMERS):
        jobs.put(None)


def consume(jobs, sums):
    count = total = 0
    while (number := jobs.get()) is not None:
        count += 1
        total += number
    sums.put((count, total))


if __name__ == "__main__":
    jobs = multiprocessing.Queue(10)
    sums = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=produce, args=(jobs,))]
    processes += [multiprocessing.Process(target=consume, args=(jobs, sums)) for _ in range(CONSUMERS)]
    for process in processes:
        process.start()
    # Who took how much differs from run to run; together it is always everything, once.
    counts, totals = zip(*(sums.get() for _ in range(CONSUMERS)))
    for process in processes:
        process.join()
    print("numbers consumed:", sum(counts))
    print("their sum:", sum(totals))
