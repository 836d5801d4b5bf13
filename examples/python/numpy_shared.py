"""numpy on shared memory: processes work on one array, and nothing is copied or sent.

What numpy is given is a view: `smoothed` and `noisy` are the same memory in all processes. Each smooths one half: every
number becomes the mean of three neighbours. With tasuki, `tasuki.shared_array(shape, dtype)` makes such arrays in one
step, and they can be sent to processes as they are.
"""

import numpy

import tasuki as multiprocessing


def smooth(noisy, smoothed, first, last):
    source, target = numpy.frombuffer(noisy), numpy.frombuffer(smoothed)
    target[first:last] = (source[first:last] + source[first + 1 : last + 1] + source[first + 2 : last + 2]) / 3


if __name__ == "__main__":
    noisy = multiprocessing.RawArray("d", [3, 0, 6, 3, 9, 6, 12, 9, 15, 12])
    smoothed = multiprocessing.RawArray("d", len(noisy) - 2)
    halves = [(0, 4), (4, 8)]
    processes = [multiprocessing.Process(target=smooth, args=(noisy, smoothed, *half)) for half in halves]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print("noisy:   ", *numpy.frombuffer(noisy))
    print("smoothed:", *numpy.frombuffer(smoothed))
