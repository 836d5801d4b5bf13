"""Wait for whichever comes first: a message on one of several lines, the end of a line, the end of a process, or time.

Nobody asks round and round: the program sleeps until one of them is ready. A wait that ends by its time has taken
nothing from anybody. A line says that it has closed as soon as nobody has its other end any more, here because the
process at that end is gone.
"""

import tasuki as multiprocessing
from tasuki.connection import wait


def station(name, trains, line):
    while line.recv() == "report":
        line.send(f"{name}: {trains} trains")


def next_news(lines, time):
    """The next thing that happens on one of the lines."""
    for line in wait(lines, time):
        try:
            return line.recv()
        except EOFError:
            return f"{lines[line]} has closed"
    return "nothing happened for a while"


if __name__ == "__main__":
    lines = {}
    stations = []
    for name, trains in [("north", 3), ("south", 5)]:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.Process(target=station, args=(name, trains, theirs))
        process.start()
        # The line is to close with that process, so nobody else may have its end.
        theirs.close()
        stations.append(process)
        lines[ours] = name
    print(next_news(lines, 0.1))

    for line in lines:
        line.send("report")
        print(next_news(lines, 60))
    for line in list(lines):
        line.send("close")
        print(next_news(lines, 60))
        # A line that has closed would be ready for ever.
        del lines[line]

    running = [process.sentinel for process in stations]
    while running:
        for sentinel in wait(running):
            running.remove(sentinel)
    for process in stations:
        process.join()
    print("both processes have ended:", all(not process.is_alive() for process in stations))
