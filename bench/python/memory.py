"""What does named shared memory cost: to make, to attach, to use a list in it?"""

from questions import Question, Side, package, timed

MIB = 1 << 20


def make(name: str):
    def run(times: int) -> tuple[int, float]:
        shared_memory = package(f"{name}.shared_memory")
        contents = b"\7" * MIB

        def work() -> None:
            for _ in range(times):
                memory = shared_memory.SharedMemory(create=True, size=MIB)
                memory.buf[:] = contents
                assert memory.buf[MIB - 1] == 7
                memory.close()
                memory.unlink()

        return times, timed(work)

    return run


def attach(name: str):
    def run(times: int) -> tuple[int, float]:
        shared_memory = package(f"{name}.shared_memory")
        memory = shared_memory.SharedMemory(create=True, size=MIB)
        memory.buf[0] = 7

        def work() -> None:
            for _ in range(times):
                other = shared_memory.SharedMemory(memory.name)
                assert other.buf[0] == 7
                other.close()

        try:
            return times, timed(work)
        finally:
            memory.close()
            memory.unlink()

    return run


def listed(name: str):
    def run(times: int) -> tuple[int, float]:
        numbers = package(f"{name}.shared_memory").ShareableList([0] * 10)

        def work() -> None:
            for index in range(times):
                numbers[index % 10] += 1

        try:
            seconds = timed(work)
            assert sum(numbers) == times
            return times, seconds
        finally:
            numbers.shm.close()
            numbers.shm.unlink()

    return run


def sides(measure) -> list[Side]:
    return [Side(name, measure(name)) for name in ("tasuki", "multiprocessing")]


QUESTIONS = [
    Question("py-memory-make", "SharedMemory, make, fill, unlink", sides(make)),
    Question("py-memory-attach", "SharedMemory, attach and close", sides(attach)),
    Question("py-memory-list", "`ShareableList[i] += 1`", sides(listed)),
]
