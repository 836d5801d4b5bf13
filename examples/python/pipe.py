"""Two processes talk through a pipe, and a third one only listens.

A pipe has two ends. What one sends, the other receives, whole and in order. When nobody has the other end any more, what was
sent before still comes, and then the end.
"""

import tasuki as multiprocessing


def shout(line):
    while (word := line.recv()) is not None:
        line.send(word.upper())


def square(numbers, squares):
    for number in range(1, numbers + 1):
        squares.send(number * number)


if __name__ == "__main__":
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=shout, args=(theirs,))
    process.start()
    theirs.close()  # only that process has this end now
    for word in ["baton", "relay", "sash"]:
        ours.send(word)
        print(word, "->", ours.recv())
    ours.send(None)
    try:
        ours.recv()
    except EOFError:
        print("the other end is closed")
    process.join()

    # One way: the first end receives, the second one sends.
    reader, writer = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=square, args=(5, writer))
    process.start()
    writer.close()
    squares = []
    try:
        while True:
            squares.append(reader.recv())
    except EOFError:
        print("squares:", *squares)
    process.join()
