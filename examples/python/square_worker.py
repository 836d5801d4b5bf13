"""The worker of the example python_worker_from_rust: squares numbers until it gets a zero.

Started by a program in another language, which handed it three things by name.
"""

import tasuki

if __name__ == "__main__":
    jobs, squares = tasuki.inherited("jobs"), tasuki.inherited("squares")
    total = tasuki.inherited("total")
    while number := jobs.get():
        squares.put(number * number)
        with total.get_lock():
            total.value += number * number
