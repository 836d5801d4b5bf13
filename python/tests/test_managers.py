"""SharedMemoryManager hands out our memory and takes it all away; the other managers are the standard library's."""

from __future__ import annotations

import multiprocessing.managers
import os
from typing import Any

import pytest

from observing import exists
import tasuki.managers
from tasuki.managers import SharedMemoryManager
from tasuki.shared_memory import ShareableList, SharedMemory


def test_what_it_hands_out_is_ours_and_goes_with_it(ctx: Any) -> None:
    with SharedMemoryManager(ctx=ctx) as manager:
        assert isinstance(manager, multiprocessing.managers.SharedMemoryManager)
        memory, items = manager.SharedMemory(100), manager.ShareableList(["a", 1, None])
        assert type(memory) is SharedMemory and type(items) is ShareableList
        assert memory.size == 100 and list(items) == ["a", 1, None]
        assert exists(memory.name) and exists(items.shm.name)
    assert not exists(memory.name) and not exists(items.shm.name)
    memory.buf[0] = 1  # the memory is there as long as somebody has it


def test_without_a_server_nothing_is_made() -> None:
    before = os.listdir("/dev/shm")
    with pytest.raises(ValueError):
        SharedMemoryManager().SharedMemory(10)
    assert os.listdir("/dev/shm") == before


def test_what_cannot_be_made_is_an_error_at_the_caller() -> None:
    with SharedMemoryManager() as manager:
        with pytest.raises(ValueError):
            manager.SharedMemory(0)
        with pytest.raises(TypeError):
            manager.ShareableList([object()])


def _write(memory: Any, items: Any) -> None:
    memory.buf[:5] = b"baton"
    items[0] = "done"


def test_what_it_hands_out_goes_to_children(ctx: Any) -> None:
    with SharedMemoryManager(ctx=ctx) as manager:
        memory, items = manager.SharedMemory(10), manager.ShareableList(["open"])
        process = ctx.Process(target=_write, args=(memory, items))
        process.start()
        process.join(120)
        assert process.exitcode == 0
        assert bytes(memory.buf[:5]) == b"baton" and list(items) == ["done"]


@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_nothing_is_left_and_nobody_complains_when_its_user(run: Any, how: str) -> None:
    done = run(
        """
        import os, signal, sys
        from tasuki.managers import SharedMemoryManager

        if __name__ == "__main__":
            manager = SharedMemoryManager()
            manager.start()
            print(manager.SharedMemory(10).name, manager.ShareableList([1]).shm.name, flush=True)
            if sys.argv[1] == "is killed":
                os.kill(manager._process.pid, signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)
            manager.shutdown()
        """,
        how,
        check=how == "ends",
    )
    names = done.stdout.split()
    assert len(names) == 2
    # The tracker is the last of them: `run` returns when it has closed stderr.
    assert not any(map(exists, names))


def test_the_other_names_are_the_standard_ones() -> None:
    for name in ("BaseManager", "SyncManager", "BaseProxy", "Token", "Namespace", "AutoProxy", "dispatch"):
        assert getattr(tasuki.managers, name) is getattr(multiprocessing.managers, name)
    assert set(multiprocessing.managers.__all__) <= set(tasuki.managers.__all__)
