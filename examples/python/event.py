"""Runners wait for the starting gun: an event that happens once, for everybody who waits.

Nobody asks again and again whether it has happened: a waiting process sleeps. The event remembers: a runner who comes
late finds that the gun was fired, and runs at once.
"""

import tasuki as multiprocessing


def run(name, ready, gun, finish):
    ready.put(name)
    gun.wait()
    finish.put(f"{name} runs")


if __name__ == "__main__":
    gun = multiprocessing.Event()
    ready, finish = multiprocessing.Queue(), multiprocessing.Queue()
    names = ["Aiko", "Bakari", "Chiara"]
    runners = [multiprocessing.Process(target=run, args=(name, ready, gun, finish)) for name in names]
    for runner in runners:
        runner.start()
    print("at the start:", *sorted(ready.get() for _ in runners))
    print("somebody ran before the gun:", not finish.empty())
    gun.set()
    for line in sorted(finish.get() for _ in runners):
        print(line)
    late = multiprocessing.Process(target=run, args=("Dmitri", ready, gun, finish))
    late.start()
    print(f"{ready.get()} is late; {finish.get()} all the same")
    for runner in [*runners, late]:
        runner.join()
