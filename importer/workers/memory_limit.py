"""Limits the memory that a process may add to what it uses: of a worker, and of a child of the service."""

from __future__ import annotations

import sys


def limit_memory(added_bytes: int, most_used: int = sys.maxsize) -> int:
    """Limit the private memory of this process to what it uses now plus `added_bytes` (Linux; elsewhere no limit).

    RLIMIT_DATA, not RLIMIT_AS: address space that is only reserved (malloc arenas, thread stacks' guards) or that maps
    the spool costs no memory, and a machine of 64 cores reserves gigabytes of it.

    Args:
        added_bytes: what it may add.
        most_used: most bytes that it is taken to use now; what it kept from work before is no reason to use more.

    Returns:
        The bytes that it uses now; 0 if that is not known.
    """
    if not sys.platform.startswith("linux"):
        return 0
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no path object needed here
        used = int(file.read().split()[5]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_DATA, (min(min(used, most_used) + added_bytes, most), hard))
    return used
