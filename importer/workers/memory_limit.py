"""Limits the memory that a process may add to what it uses: of a worker, and of a child of the service."""

from __future__ import annotations

import sys


def limit_memory(added_bytes: int) -> None:
    """Limit the private memory of this process to what it uses now plus `added_bytes` (Linux; elsewhere no limit).

    RLIMIT_DATA, not RLIMIT_AS: address space that is only reserved (malloc arenas, thread stacks' guards) or that maps
    the spool costs no memory, and a machine of 64 cores reserves gigabytes of it.
    """
    if not sys.platform.startswith("linux"):
        return
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no path object needed here
        pages = int(file.read().split()[5])
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_DATA, (min(pages * resource.getpagesize() + added_bytes, most), hard))
