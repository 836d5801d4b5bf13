"""Customers wait for bread: a condition is a lock, and a way to wait for what others change under it.

Each customer wants another number of loaves, and waits until there are so many. `wait_for` frees the lock while it
sleeps, has it again when it looks, and looks whenever somebody calls `notify`. Bread that is there is never sold twice,
since looking and taking happen under one lock.
"""

import tasuki as multiprocessing

WANTED = [4, 1, 3, 2]


def buy(loaves, bakery, stock, sold):
    with bakery:
        bakery.wait_for(lambda: stock.value >= loaves)
        stock.value -= loaves
    sold.put(loaves)


def bake(loaves, bakery, stock):
    for _ in range(loaves):
        with bakery:
            stock.value += 1
            bakery.notify_all()


if __name__ == "__main__":
    bakery = multiprocessing.Condition()
    stock = multiprocessing.Value("i", 0, lock=False)
    sold = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=buy, args=(loaves, bakery, stock, sold)) for loaves in WANTED]
    processes.append(multiprocessing.Process(target=bake, args=(12, bakery, stock)))
    for process in processes:
        process.start()
    print("loaves sold:", *sorted(sold.get() for _ in WANTED))
    for process in processes:
        process.join()
    print("loaves left:", stock.value)
