"""A semaphore is a number of permits: here it is toilets, and then the places of a queue.

Six people share two toilets. A permit taken by `with` comes back when the block ends, even when the process is killed in
it. In the queue nobody gives back what he took: who puts takes a free place and gives a filled one, who gets does the
reverse, so that each wakes the other.
"""

import time

import tasuki as multiprocessing

PLACES = 3


def visit(toilets, inside, most):
    with toilets:
        with inside.get_lock():
            inside.value += 1
            most.value = max(most.value, inside.value)
        time.sleep(0.01)
        with inside.get_lock():
            inside.value -= 1


def put(numbers, free, filled, places):
    for i, number in enumerate(numbers):
        free.acquire()
        places[i % PLACES] = number
        filled.release()


if __name__ == "__main__":
    toilets = multiprocessing.Semaphore(2)
    inside, most = multiprocessing.Value("i", 0), multiprocessing.Value("i", 0)
    people = [multiprocessing.Process(target=visit, args=(toilets, inside, most)) for _ in range(6)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    print("six people were never more than two at a time:", most.value <= 2)

    free, filled = multiprocessing.Semaphore(PLACES), multiprocessing.Semaphore(0)
    places = multiprocessing.Array("i", PLACES)
    numbers = [0, 1, 1, 2, 3, 5, 8, 13, 21]
    producer = multiprocessing.Process(target=put, args=(numbers, free, filled, places))
    producer.start()
    print("through three places came:", end="")
    for i in range(len(numbers)):
        filled.acquire()
        print(f" {places[i % PLACES]}", end="")
        free.release()
    print()
    producer.join()
