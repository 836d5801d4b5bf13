"""Three producers, two consumers, and nobody who counts boxes to know when it is over.

The queue is bounded, so producers that run ahead wait until there is room again. When the last producer has ended, all
that they put is in the queue; one `None` for each consumer then says that no more will come.
"""

import collections

import tasuki as multiprocessing

CONSUMERS = 2


def produce(fruit, boxes):
    for number in range(1, 21):
        boxes.put((fruit, number))


def consume(boxes, taken):
    taken.put(list(iter(boxes.get, None)))


if __name__ == "__main__":
    boxes, taken = multiprocessing.Queue(5), multiprocessing.Queue()
    producers = [multiprocessing.Process(target=produce, args=(fruit, boxes)) for fruit in ("apples", "pears", "plums")]
    consumers = [multiprocessing.Process(target=consume, args=(boxes, taken)) for _ in range(CONSUMERS)]
    for process in producers + consumers:
        process.start()
    for process in producers:
        process.join()
    for _ in consumers:
        boxes.put(None)
    # Who took how much differs from run to run; together it is always everything, once.
    everything = [box for _ in consumers for box in taken.get()]
    for process in consumers:
        process.join()
    for fruit, count in sorted(collections.Counter(fruit for fruit, _ in everything).items()):
        print(f"{fruit}: {count} boxes")
    print("no box twice:", len(set(everything)) == len(everything))
