"""One number that several processes build together.

Leibniz: pi = 4 - 4/3 + 4/5 - 4/7 + ... Each process adds up every third term on its own, without asking anybody,
and touches the shared number once, at the end, under the lock that a value brings along.
"""

import tasuki as multiprocessing

TERMS = 300_000
WORKERS = 3


def add_terms(first, pi):
    part = sum((4.0 if k % 2 == 0 else -4.0) / (2 * k + 1) for k in range(first, TERMS, WORKERS))
    with pi.get_lock():
        pi.value += part


if __name__ == "__main__":
    pi = multiprocessing.Value("d", 0.0)
    processes = [multiprocessing.Process(target=add_terms, args=(i, pi)) for i in range(WORKERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(f"pi is about {pi.value:.4f}")
