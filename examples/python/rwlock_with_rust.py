"""Prices that a Python program and a Rust program look up and change, under one lock of many readers or one writer.

Whoever reads sees a whole change, of either language; and whoever comes after one that died while it wrote is told, once.
The worker is rust/src/bin/price_worker.rs.

`cargo build -p tasuki-examples` makes the worker; give its path as an argument if it is not in target/debug.
"""

import sys

import tasuki

ROUNDS = 500

if __name__ == "__main__":
    worker = sys.argv[1:] or ["target/debug/price_worker"]
    lock, prices = tasuki.RwLock(), tasuki.Array("i", [100, 20], lock=False)
    handles = {"lock": lock, "prices": prices}
    process = tasuki.Command(worker, handles=handles).start()
    for _ in range(ROUNDS):
        with lock.read():
            net, tax = prices
        assert net == tax * 5, "half changed"
        with lock.write():
            prices[0] += 5
            prices[1] += 1
    process.join()
    print("both ended well:", process.exitcode == 0)
    print("prices:", list(prices))

    process = tasuki.Command([*worker, "die"], handles=handles).start()
    process.join()
    try:
        lock.acquire_write()
    except tasuki.OwnerDied as died:
        print("died while it wrote:", died.pid == process.pid)
    with lock.write():
        prices[0] = 5 * prices[1]
    print("prices:", list(prices))
