"""Defines what every reader of a file at an address can do, whatever library it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from importer.errors import SourceChanged

if TYPE_CHECKING:
    from collections.abc import Generator

    from importer.urls import Url

#: Bytes of one range, and of one piece of a stream.
RANGE_BYTES = 8 << 20


class RemoteReader(Protocol):
    """Reads one version of a file; every method but the constructor may be called by several threads at once.

    Attributes:
        size: bytes of the file; None if that shows only at its end.
        version: what tells this version from others: an ETag, a version id, or size and time; None if nothing does.
        has_ranges: whether ranges can be read side by side.
    """

    size: int | None
    version: str | None
    has_ranges: bool

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to `stop`, exactly so many.

        Raises:
            SourceChanged: the file is not what it was when the reader was made.
            SourceUnavailable: the server failed, or the answer was cut; it may pass.
            SourceRefused: the server refused.
        """

    def stream(self) -> Generator[bytes]:
        """Yield the whole file from its beginning; raises as `read` does, also if it is cut."""

    def check_unchanged(self) -> None:
        """Raise SourceChanged if the file is not what it was when the reader was made, as far as that shows."""

    def close(self) -> None:
        """Give up connections."""


def changed(url: Url) -> SourceChanged:
    """Return the error of a file that was changed while it was read."""
    return SourceChanged(
        "the source was changed while it was fetched", place=str(url),
        choice="run again once nobody writes it; nothing was loaded",
    )  # fmt: skip
