"""Lets the n-th call that opens or changes a file in some folders fail, or the n-th large allocation of a worker, in any
process of a command: Python's, Rust's and C++'s alike, by a library that is preloaded into them (`filefaults.c`)."""

from __future__ import annotations

import ctypes
import errno
import mmap
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What can go wrong: numbers of errors; a write that writes half; kill -9 of the calling process or of its group.
KINDS = {
    "ENOSPC": errno.ENOSPC,
    "EIO": errno.EIO,
    "EINTR": errno.EINTR,
    "EDQUOT": errno.EDQUOT,
    "EMFILE": errno.EMFILE,
    "ENOMEM": errno.ENOMEM,
    # As ENOSPC, for all later calls that take room too.
    "full": errno.ENOSPC,
    "short": -1,
    "kill-one": -2,
    "kill": -3,
}
#: Those that a program does not notice, because what calls the system tries again.
HARMLESS = {KINDS["EINTR"], KINDS["short"]}
CALLS, ALLOCATIONS = 0, 1


class _State(ctypes.Structure):
    """What the library and the test share: `struct state` in `filefaults.c`."""

    _fields_ = [
        ("at", ctypes.c_uint32),
        ("kind", ctypes.c_int32),
        ("counted", ctypes.c_uint32),
        ("lasting", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32),
        ("count", ctypes.c_uint32 * 2),
        ("hits", ctypes.c_uint32),
        ("happened", ctypes.c_int32),
        ("hit", ctypes.c_char * 1024),
        ("folders", ctypes.c_char * 2048),
    ]


class FileFaults:
    """A library that counts and fails, for commands that are started with `env`.

    Args:
        folder: where to make it; not one of the watched.
        watched: the folders whose files count.
        allocation_bytes: how large an allocation is that counts.

    Attributes:
        env: environment variables of the commands.
    """

    def __init__(self, folder: Path, watched: Iterable[Path], allocation_bytes: int = 1 << 20) -> None:
        library, state = folder / "filefaults.so", folder / "filefaults.state"
        _compile(library)
        state.write_bytes(bytes(ctypes.sizeof(_State)))
        with state.open("r+b") as file:
            self._state = _State.from_buffer(mmap.mmap(file.fileno(), 0))
        self._state.folders = "".join(f"{path.resolve()}\n" for path in watched).encode()
        self._state.bytes = allocation_bytes
        self.env = {"LD_PRELOAD": str(library), "FILEFAULTS": str(state)}

    def arm(self, kind: str | None = None, at: int = 0, counted: int = CALLS) -> None:
        """Count from 0 again, and let the call (or allocation) number `at` fail; without a kind, none."""
        self._state.at = 0
        self._state.count[CALLS] = self._state.count[ALLOCATIONS] = self._state.hits = 0
        self._state.hit, self._state.happened = b"", 0
        self._state.kind, self._state.lasting = KINDS[kind] if kind else 0, kind == "full"
        self._state.counted, self._state.at = counted, at

    def disarm(self) -> None:
        """Let nothing fail any more; what was hit can still be read."""
        self._state.at = 0

    def count(self, counted: int = CALLS) -> int:
        """How many calls or allocations there were."""
        return int(self._state.count[counted])

    @property
    def hit(self) -> str:
        """The call that failed first, for people; empty if none did."""
        return str(self._state.hit.decode(errors="replace"))

    @property
    def was_harmless(self) -> bool:
        """Whether the fault is one that callers make good themselves."""
        return self._state.happened in HARMLESS

    @property
    def was_removal(self) -> bool:
        """Whether what failed was the removal of something, or the look into a folder that was to be removed."""
        call, _, rest = self.hit.partition(" ")
        return call in {"unlink", "unlinkat", "rmdir"} or Path(rest.rpartition(" in a ")[0]).is_dir()


def _compile(library: Path) -> None:
    """Build the library; skips the test where that is not possible."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not sys.platform.startswith("linux") or sys.maxsize < 1 << 32:
        pytest.skip("a library that stands between a program and its files can be preloaded on 64-bit Linux only")
    if compiler is None:
        pytest.skip("no C compiler is here to build the library that fails calls")
    source = Path(__file__).with_name("filefaults.c")
    command = [
        compiler,
        "-shared",
        "-fPIC",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-o",
        str(library),
        str(source),
        "-ldl",
    ]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
