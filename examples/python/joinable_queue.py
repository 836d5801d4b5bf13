"""Tasks that are reported done: `join` returns when nothing is left to do, not when nothing is left to take.

A worker reports each task when its result is on its way. So when `join` returns, every result can be had. Even the
`None` that ends a worker is a task.
"""

import tasuki as multiprocessing

WORKERS = 3


def square(tasks, squares):
    while (number := tasks.get()) is not None:
        squares.put((number, number * number))
        tasks.task_done()
    tasks.task_done()


if __name__ == "__main__":
    tasks = multiprocessing.JoinableQueue()
    squares = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=square, args=(tasks, squares)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for number in range(1, 7):
        tasks.put(number)
    tasks.join()
    print("all tasks are done")
    # Who is first differs from run to run; together it is always everything.
    for number, squared in sorted(squares.get() for _ in range(6)):
        print(f"{number} squared is {squared}")
    try:
        tasks.task_done()
    except ValueError:
        print("no task is left to be reported done")
    for _ in workers:
        tasks.put(None)
    tasks.join()
    for worker in workers:
        worker.join()
    print("the workers went home")
