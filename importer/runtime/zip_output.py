"""Stands between xlsxwriter and the file that it writes, and is silent after that file has failed once.

xlsxwriter leaves its zip open when it fails. When that is collected, it writes its end, which fails again, and Python
prints that as an exception that nobody could handle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable


class ZipOutput:
    """A file that zip parts are written to; after its first error, or its end, it takes everything and does nothing.

    It then keeps count of where it would be: a zip's end holds differences of positions, which must not be negative.

    Args:
        file: the file itself, which the caller closes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._failed = file, False
        self._position = 0

    def write(self, data: bytes) -> int:
        """Write bytes, and return how many."""
        self._call(self._file.write, data)
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position, and return it."""
        self._position = self._call(self._file.seek, offset, whence, otherwise=offset)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        self._position = self._call(self._file.tell, otherwise=self._position)
        return self._position

    def flush(self) -> None:
        """Pass on what is buffered."""
        self._call(self._file.flush)

    def _call(self, function: Callable[..., int | None], *args: object, otherwise: int = 0) -> int:
        if self._failed or self._file.closed:
            return otherwise
        try:
            return function(*args) or 0
        except BaseException:
            self._failed = True
            raise
