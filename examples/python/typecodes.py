"""The letters that say what a shared number is, with the room that each takes and the numbers that it holds.

They are the letters of the module `array`; a type of ctypes may stand in their place. A number that does not fit wraps
around, as in C: another process adds one to the greatest of the small ones, and gets the least.
"""

import tasuki as multiprocessing


def limits(code, size):
    if code in "fd":
        return "a number with a fraction"
    if code.isupper():
        return f"0 to {2 ** (8 * size) - 1}"
    return f"{-(2 ** (8 * size - 1))} to {2 ** (8 * size - 1) - 1}"


def add_one(values):
    for value in values:
        value.value += 1


if __name__ == "__main__":
    for code in "bBhHiIlLqQfd":
        size = memoryview(multiprocessing.RawArray(code, 1)).itemsize
        print(f"{code}  bytes: {size}  {limits(code, size)}")
    values = [multiprocessing.Value("b", 127), multiprocessing.Value("B", 255), multiprocessing.Value("h", 32767)]
    process = multiprocessing.Process(target=add_one, args=(values,))
    process.start()
    process.join()
    print("one more than the greatest of b, B and h:", *(value.value for value in values))
