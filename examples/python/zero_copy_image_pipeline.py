"""Images go from numpy through a filter in Rust and back into numpy, and no receiver copies them.

A message of such a size lies in a block of shared memory. `get_view` returns a view of that block, and numpy an array
on the view; the block is the queue's again when the array is gone. The filter (rust/src/bin/filter_worker.rs) looks at
the pixels where they lie as well.

`cargo build -p tasuki-examples` makes the worker; give its path as an argument if it is not in target/debug.
"""

import sys

import numpy

import tasuki

HEIGHT, WIDTH = 1000, 2000


def picture(number):
    """Stripes and waves, other ones for each number."""
    y, x = numpy.ogrid[:HEIGHT, :WIDTH]
    return ((x * (number + 1) + y * y // 64) % 251).astype(numpy.uint8)


def blur(image):
    """What the worker does, with numpy."""
    wide = image.astype(numpy.uint16)
    rows = wide[:-2] + wide[1:-1] + wide[2:]
    blurred = image.copy()
    blurred[1:-1, 1:-1] = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) // 9
    return blurred


if __name__ == "__main__":
    worker = sys.argv[1:] or ["target/debug/filter_worker"]
    images, blurred = tasuki.Queue(), tasuki.Queue()
    process = tasuki.Command([*worker, str(WIDTH)], handles={"images": images, "blurred": blurred}).start()
    for number in range(4):
        images.put(memoryview(picture(number)))
    results = []
    for _ in range(4):
        pixels = numpy.frombuffer(blurred.get_view(), numpy.uint8)
        results.append(pixels.reshape(HEIGHT, WIDTH))
    images.put(b"")
    process.join()
    print("images blurred:", len(results))
    print("as numpy blurs them:", all((result == blur(picture(n))).all() for n, result in enumerate(results)))
    print("received without a copy:", not any(result.flags.owndata for result in results))
