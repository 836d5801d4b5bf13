"""Two timers: one is cancelled, the other one rings.

A timer is a process that waits before it calls its function. `cancel` ends the waiting; once the function has begun
it changes nothing. The program goes on meanwhile, and a timer that nobody needs any more keeps nobody busy.
"""

import tasuki as multiprocessing


def ring(what, kitchen):
    kitchen.put(f"the {what} is ready")


if __name__ == "__main__":
    kitchen = multiprocessing.Queue()
    tea = multiprocessing.Timer(0.3, ring, args=("tea", kitchen))
    roast = multiprocessing.Timer(3600, ring, args=("roast", kitchen))
    tea.start()
    roast.start()
    print("tea and roast are on the fire")
    print(kitchen.get())
    roast.cancel()
    roast.join()
    tea.join()
    print("the roast was taken away, and did not ring:", kitchen.empty())
