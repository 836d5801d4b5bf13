"""The smallest relay: numbers go out through one queue, and their squares come back through another."""

import tasuki as multiprocessing


def square(numbers, squares):
    while (number := numbers.get()) is not None:
        squares.put(number * number)


if __name__ == "__main__":
    numbers, squares = multiprocessing.Queue(), multiprocessing.Queue()
    worker = multiprocessing.Process(target=square, args=(numbers, squares))
    worker.start()
    for number in [1, 2, 3, None]:
        numbers.put(number)
    for _ in range(3):
        print(squares.get())
    worker.join()
