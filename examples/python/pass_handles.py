"""Send a queue through a queue: every request brings along the place for its answer.

A queue, a lock or a value is a handle, and a handle is a value like any other: it can be an argument, and it can
be put into a queue. So a server needs to know nobody: the answer goes where the request says. The standard
library cannot do this; there, handles travel only at the start of a process.
"""

import tasuki as multiprocessing


def serve(requests):
    while (request := requests.get()) is not None:
        text, answer = request
        answer.put(text.upper())


def ask(text, requests, lines):
    answer = multiprocessing.Queue()
    requests.put((text, answer))
    lines.put(f"{text} -> {answer.get()}")


if __name__ == "__main__":
    requests = multiprocessing.Queue()
    lines = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(requests,))
    clients = [multiprocessing.Process(target=ask, args=(text, requests, lines)) for text in ["baton", "relay", "sash"]]
    for process in [server, *clients]:
        process.start()
    for line in sorted(lines.get() for _ in clients):
        print(line)
    for client in clients:
        client.join()
    requests.put(None)
    server.join()
