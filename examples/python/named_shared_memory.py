"""Shared memory with a name: who knows the name opens it, in whatever program and language.

One process makes it, another one opens it by its name and writes into it. `close` is for each who opened it, `unlink` for
one: it takes the name away. A name is good for strangers; to one's own processes a queue or an array can be handed
over, and then no name can be left behind.
"""

import tasuki as multiprocessing
from tasuki.shared_memory import SharedMemory


def shout(name):
    memory = SharedMemory(name)
    text = bytes(memory.buf[1 : 1 + memory.buf[0]])
    memory.buf[1 : 1 + len(text)] = text.upper()
    memory.close()


if __name__ == "__main__":
    memory = SharedMemory(create=True, size=100)
    text = b"hand over the sash"
    memory.buf[0] = len(text)
    memory.buf[1 : 1 + len(text)] = text
    process = multiprocessing.Process(target=shout, args=(memory.name,))
    process.start()
    process.join()
    print(bytes(memory.buf[1 : 1 + memory.buf[0]]).decode())
    memory.close()
    memory.unlink()
    try:
        SharedMemory(memory.name)
    except FileNotFoundError:
        print("nothing has that name any more")
