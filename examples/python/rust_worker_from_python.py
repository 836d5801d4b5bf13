"""A Python program that has its work done by a Rust program, over one queue and one value.

`Command` starts any program and hands it what it is to share, each under a name; the worker asks for it by that
name (rust/src/bin/square_worker.rs). Numbers travel as eight plain bytes: neither side pickles anything.
The other way round is examples/rust/src/bin/python_worker_from_rust.rs; both print the same.

`cargo build -p tasuki-examples` makes the worker; give its path as an argument if it is not in target/debug.
"""

import sys

import tasuki

if __name__ == "__main__":
    worker = sys.argv[1:] or ["target/debug/square_worker"]
    jobs, squares = tasuki.Queue(), tasuki.Queue()
    total = tasuki.Value("q", 0)
    handles = {"jobs": jobs, "squares": squares, "total": total}
    process = tasuki.Command(worker, handles=handles).start()
    for number in [1, 2, 3, 4, 5]:
        jobs.put(number)
        print(f"{number} squared is {squares.get()}")
    jobs.put(0)
    process.join()
    print("the worker's total:", total.value)
