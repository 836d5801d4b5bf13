"""What a process holds and uses, and what it left: descriptors, memory, processor time and names, as the kernel counts."""

from __future__ import annotations

import os
from pathlib import Path


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def resident() -> int:
    """The bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processor_seconds(pid: int | None) -> float:
    """What all threads of a process have used of the processor, to a hundredth of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def exists(name: str) -> bool:
    """Whether shared memory has this name."""
    return os.path.exists(f"/dev/shm/{name}")
