"""How long does each single answer take, in the middle and at the tail?

"Awake" asks the next question as soon as the answer is here; "asleep" pauses before each one for far longer than anybody
looks, so that the answer needs a wake-up. The pause does not count. Each time contains a look at the clock on every side.
"""

import time
from collections import Counter

from links import Link, faster_fifo, pipe, queues
from questions import Question, Side

PAUSE = 0.0005
# What the first ones take is the kernel giving pages.
UNCOUNTED = 16


def _answer(link: Link, times: int) -> None:
    send, receive = link.answerer
    for _ in range(times):
        send(receive())


def measure(pause: float, make, *args):
    def run(times: int) -> tuple[int, float, list[tuple[int, int]]]:
        link: Link = make(*args)
        send, receive = link.asker
        # Until this one has taken and answered nothing, the other may still be starting: the first ones do not count.
        other = link.context.Process(target=_answer, args=(link, times + UNCOUNTED), daemon=True)
        other.start()
        taken = Counter()
        clock, begin = time.perf_counter_ns, 0.0
        for number in range(-UNCOUNTED, times):
            if number == 0:
                begin = time.perf_counter()
            if pause:
                time.sleep(pause)
            start = clock()
            send(number)
            answer = receive()
            passed = clock() - start
            assert answer == number, "the answer belongs to the question"
            if number >= 0:
                taken[passed] += 1
        seconds = time.perf_counter() - begin
        other.join()
        assert other.exitcode == 0 and taken.total() == times
        return times, seconds, coarse(taken)

    return run


def coarse(taken: Counter) -> list[tuple[int, int]]:
    """To three digits: nobody can tell more, and there are fewer of them."""
    counts: Counter[int] = Counter()
    for nanoseconds, count in taken.items():
        counts[round(nanoseconds, 3 - len(str(nanoseconds)))] += count
    return sorted(counts.items())


def sides(pause: float, goal: float | None) -> list[Side]:
    return [
        Side("tasuki Pipe", measure(pause, pipe, "tasuki")),
        Side("tasuki Queue", measure(pause, queues, "tasuki")),
        Side("multiprocessing Pipe", measure(pause, pipe, "multiprocessing"), goal),
        Side("multiprocessing Queue", measure(pause, queues, "multiprocessing")),
        Side("faster-fifo", measure(pause, faster_fifo), None, "faster_fifo"),
    ]


QUESTIONS = [
    Question("py-latency-awake", "one round trip, both awake", sides(0, 10), "latency"),
    Question("py-latency-asleep", "one round trip, asleep before", sides(PAUSE, None), "latency"),
]
