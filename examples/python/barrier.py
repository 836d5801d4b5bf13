"""Players join a table: nobody plays before all are there, and nobody begins a round before all have ended the last.

A barrier lets nobody pass until as many wait as it has parties. It gives each of them another number; who gets 0 deals.
If one of them were killed, the barrier would break: the others get an error instead of waiting for ever.
"""

import tasuki as multiprocessing

PLAYERS = 4
ROUNDS = 3


def play(table, joined, lines):
    with joined.get_lock():
        joined.value += 1
    for round in range(1, ROUNDS + 1):
        number = table.wait()
        if number == 0:
            lines.put(f"round {round}: one of {joined.value} players deals")
        table.wait()


if __name__ == "__main__":
    table = multiprocessing.Barrier(PLAYERS)
    joined, lines = multiprocessing.Value("i", 0), multiprocessing.Queue()
    players = [multiprocessing.Process(target=play, args=(table, joined, lines)) for _ in range(PLAYERS)]
    for player in players:
        player.start()
    for _ in range(ROUNDS):
        print(lines.get())
    for player in players:
        player.join()
    print("waiting at the end:", table.n_waiting)
