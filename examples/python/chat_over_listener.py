"""A chat room at a port: guests come over sockets, prove that they have the key, and talk in turns.

The guests could as well be other programs, in Python with nothing but its standard library, or on another machine: the
bytes are those of `multiprocessing.connection`. A stranger with another key is turned away at the door, and so would be
one that says nothing, without anybody waiting for it.
"""

import tasuki as multiprocessing
from tasuki.connection import Client, Listener

KEY = b"the word at the door"


def guest(address, name, lines):
    """Says its name and then its lines, each after it heard what the other one says."""
    with Client(address, authkey=KEY) as room:
        room.send(name)
        for line in lines:
            if name != "Ann":
                room.recv()
            room.send(line)
            if name == "Ann":
                room.recv()


def stranger(address):
    try:
        Client(address, authkey=b"a guess")
    except multiprocessing.AuthenticationError:
        pass


if __name__ == "__main__":
    with Listener(("127.0.0.1", 0), authkey=KEY) as listener:
        print("the room is open")

        uninvited = multiprocessing.Process(target=stranger, args=(listener.address,))
        uninvited.start()
        try:
            listener.accept()
        except multiprocessing.AuthenticationError:
            print("a stranger was turned away")
        uninvited.join()

        guests = []
        processes = []
        for name, lines in [("Ann", ["is anybody here?", "shall we begin?"]), ("Ben", ["I am.", "let us."])]:
            process = multiprocessing.Process(target=guest, args=(listener.address, name, lines))
            process.start()
            processes.append(process)
            connection = listener.accept()
            guests.append((connection.recv(), connection))
            print(guests[-1][0], "came")

    # Each line goes to the other one; who closes its connection has left.
    speaker = left = 0
    while left < len(guests):
        name, connection = guests[speaker]
        try:
            line = connection.recv()
            print(f"{name}: {line}")
            guests[1 - speaker][1].send(line)
        except EOFError:
            print(name, "left")
            left += 1
        speaker = 1 - speaker
    for process in processes:
        process.join()
