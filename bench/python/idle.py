"""What does waiting cost: how much processor time, and how many wake-ups, of a process that waits for a message which
comes after a second or more?"""

import resource
import time

from links import Link, faster_fifo, pipe, queues
from questions import Question, Side


def _send_later(link: Link, milliseconds: int) -> None:
    send, receive = link.answerer
    assert receive() == "ready"
    time.sleep(milliseconds / 1000)
    send(milliseconds)


def wait(make, *args):
    def run(milliseconds: int) -> dict:
        link: Link = make(*args)
        send, receive = link.asker
        other = link.context.Process(target=_send_later, args=(link, milliseconds), daemon=True)
        other.start()
        send("ready")
        clock, processor, switches = time.monotonic(), time.process_time(), _switches()
        got = receive()
        used = {
            "waited": time.monotonic() - clock,
            "processor": time.process_time() - processor,
            "wake_ups": _switches() - switches,
        }
        assert got == milliseconds and used["waited"] >= milliseconds / 2000
        other.join()
        return used

    return run


def _switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


QUESTIONS = [
    Question(
        "py-idle-receive",
        "waiting for a message",
        [
            Side("tasuki Queue", wait(queues, "tasuki"), 0.001),
            Side("tasuki Pipe", wait(pipe, "tasuki"), 0.001),
            Side("multiprocessing Queue", wait(queues, "multiprocessing")),
            Side("multiprocessing Pipe", wait(pipe, "multiprocessing")),
            Side("faster-fifo", wait(faster_fifo), None, "faster_fifo"),
        ],
        "idle",
    )
]
