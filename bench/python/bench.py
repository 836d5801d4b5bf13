"""tasuki and its peers in Python, side by side: one file per question, in it a function for each side.

`list` prints the questions as JSON; `run QUESTION SIDE OPERATIONS` answers one for one side, once, and prints the
seconds it took. `bench/run.py` calls these two. Every run asserts what came out: counts, sums, checksums.
"""

import faulthandler
import json
import signal
import sys

import arrays
import barriers
import conditions
import creating
import events
import idle
import importing
import latency
import lock
import memory
import pipes
import pools
import processes
import queue_arrays
import queue_batches
import queue_bytes
import queue_kinds
import queue_small
import rwlocks
import semaphores
import sockets
import value

QUESTIONS = [
    *queue_small.QUESTIONS,
    *queue_batches.QUESTIONS,
    *queue_bytes.QUESTIONS,
    *queue_arrays.QUESTIONS,
    *queue_kinds.QUESTIONS,
    *pipes.QUESTIONS,
    *sockets.QUESTIONS,
    *latency.QUESTIONS,
    *idle.QUESTIONS,
    *lock.QUESTIONS,
    *rwlocks.QUESTIONS,
    *semaphores.QUESTIONS,
    *events.QUESTIONS,
    *conditions.QUESTIONS,
    *barriers.QUESTIONS,
    *value.QUESTIONS,
    *arrays.QUESTIONS,
    *memory.QUESTIONS,
    *creating.QUESTIONS,
    *processes.QUESTIONS,
    *pools.QUESTIONS,
    *importing.QUESTIONS,
]
WATCHDOG = 100


def main(args: list[str]) -> None:
    match args:
        case ["list"]:
            print(json.dumps([question.as_json() for question in QUESTIONS]))
        case ["run", name, side_name, operations]:
            faulthandler.dump_traceback_later(WATCHDOG - 10)
            signal.alarm(WATCHDOG)
            (question,) = (it for it in QUESTIONS if it.name == name)
            (side,) = (it for it in question.sides if it.name == side_name)
            print(json.dumps(question.answer(side, int(operations))))
        case _:
            sys.exit("bench.py list | run QUESTION SIDE OPERATIONS")


if __name__ == "__main__":
    main(sys.argv[1:])
