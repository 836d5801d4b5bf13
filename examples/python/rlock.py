"""A lock that its owner may take again, for functions that need it and call each other.

`pay_in` and `pay_out` take the lock of the accounts, since either may be called alone. `transfer` takes it too, so that
nobody sees money that has left one account and not arrived in the other, and then calls both. An ordinary lock would
wait there for its own owner, for ever.
"""

import tasuki as multiprocessing

ANNA, BEN = 0, 1


def pay_in(accounts, lock, who, amount):
    with lock:
        accounts[who] += amount


def pay_out(accounts, lock, who, amount):
    with lock:
        accounts[who] -= amount


def transfer(accounts, lock, payer, payee, amount):
    with lock:
        pay_out(accounts, lock, payer, amount)
        pay_in(accounts, lock, payee, amount)


def trade(accounts, lock, payer, payee, amount):
    for _ in range(100):
        transfer(accounts, lock, payer, payee, amount)
        with lock:
            assert sum(accounts) == 1000


if __name__ == "__main__":
    accounts = multiprocessing.Array("q", [500, 500], lock=False)
    lock = multiprocessing.RLock()
    trades = [(ANNA, BEN, 3), (BEN, ANNA, 1), (BEN, ANNA, 4)]
    processes = [multiprocessing.Process(target=trade, args=(accounts, lock, *one)) for one in trades]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print("every look in between saw all the money:", all(process.exitcode == 0 for process in processes))
    print(f"Anna has {accounts[ANNA]}, Ben has {accounts[BEN]}")
