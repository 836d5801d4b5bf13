"""A Python program has an array worked on by a Rust program, in place: nothing is copied but a handle.

The array travels inside a message of a queue whose structured messages are MessagePack, which Rust reads too
(rust/src/bin/scale_worker.rs). The worker sends it back, and it is the same array.

`cargo build -p tasuki-examples` makes the worker; give its path as an argument if it is not in target/debug.
"""

import sys

import tasuki

if __name__ == "__main__":
    worker = sys.argv[1:] or ["target/debug/scale_worker"]
    jobs, done = tasuki.Queue(codec="msgpack"), tasuki.Queue(codec="msgpack")
    process = tasuki.Command(worker, handles={"jobs": jobs, "done": done}).start()
    prices = tasuki.Array("d", [1.0, 2.5, 4.0])
    jobs.put((prices, 1.5))
    back = done.get()
    print("scaled:", prices[:])
    back[0] = 0.0
    print("the same array:", prices[0] == 0.0)
    jobs.put((prices, 0.0))
    process.join()
