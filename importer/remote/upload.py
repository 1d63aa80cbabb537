"""Writes files to addresses: whole or not at all, and never lost, because what cannot be sent is kept here."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from importer.errors import ImporterError, MachineError, NotDelivered, SourceUnavailable
from importer.runtime.interruptible import CallThread, await_result
from importer.runtime.output_file import FileIdentity, numbered_paths, output_file, write_file
from importer.runtime.retry import Retry

if TYPE_CHECKING:
    from importer.urls import Url


#: Seconds to keep retrying while the server fails, where no option says how long.
_RETRY_SECONDS = 60.0


def check_destination(url: Url) -> None:
    """Refuse an address that nothing can write to, before there is anything to write.

    Raises:
        UsageError: no library for such addresses is installed.
        SourceRefused: the server cannot be used.
    """
    if not url.is_http:
        from .filesystems import open_system

        # A server that fails now may be back by then.
        with contextlib.suppress(SourceUnavailable):
            open_system(url)


def upload(local: Path, url: Url, retry_for: float) -> None:
    """Write a file to an address, whole or not at all.

    Args:
        local: the file.
        url: the address.
        retry_for: seconds to keep retrying while the server fails.

    Raises:
        SourceRefused: the server refused it.
        SourceUnavailable: the server failed for too long.
    """
    if url.is_http:
        from .web import put_file as put
    else:
        from .filesystems import put_system_file as put

    retry, thread = Retry(retry_for), CallThread("upload")
    try:
        while True:
            try:
                await_result(thread.submit(partial(put, local, url)))
            except ImporterError as exc:
                retry.wait_or_raise(exc)
            else:
                return
    finally:
        thread.close()


def keep_here(local: Path, name: str) -> Path:
    """Copy a file that could not be sent to the current folder, else to that for temporary files; return its path.

    Raises:
        MachineError: it cannot be written there either.
    """
    failed: OSError | None = None
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        try:
            with output_file(folder / name) as made, local.open("rb") as file:
                shutil.copyfileobj(file, made.file)
                made.finish()
                return made.place()
        except OSError as exc:
            failed = exc
    assert failed is not None
    raise MachineError("the file cannot be kept", place=f"{failed.filename}: {failed.strerror or failed}") from None


def write_bytes(content: bytes, place: Path | Url) -> str:
    """Write a whole file to a path or an address; return where it is.

    Raises:
        NotDelivered: it could not be sent, and is kept here.
        OSError: the path cannot be written.
    """
    if isinstance(place, Path):
        return str(write_file(place, content))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = UrlOutput(place, Path(folder), _RETRY_SECONDS, replaces=True)
        made.file.write(content)
        made.finish()
        return str(made.place())


class UrlOutput:
    """A file that is written here and then sent to an address; has the methods of `OutputFile`.

    Args:
        url: the address.
        folder: folder for the file until it is sent.
        retry_for: seconds to keep retrying while the server fails.
        replaces: whether it may replace what is at the address; else it gets the next free number.

    Attributes:
        file: what to write to, until it is finished.
    """

    def __init__(self, url: Url, folder: Path, retry_for: float, *, replaces: bool) -> None:
        self._url, self._retry_for, self._replaces = url, retry_for, replaces
        self._local = folder / f"upload-{url.name}"
        self.file: BinaryIO = self._local.open("w+b")

    def finish(self) -> FileIdentity:
        """Put the file on the disk, and return its identity here.

        Raises:
            OSError: the disk is full or fails.
        """
        self.file.flush()
        found = self._local.stat()
        return FileIdentity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

    def place(self) -> Url:
        """Send the finished file, and return the address that it has now.

        Raises:
            NotDelivered: it could not be sent, and is kept here.
            MachineError: it could not be kept either.
        """
        self.file.close()
        try:
            url = self._url if self._replaces else self._free()
            upload(self._local, url, self._retry_for)
        except ImporterError as exc:
            error = NotDelivered(exc.fact, place=exc.place, choice=exc.choice)
            error.kept = str(keep_here(self._local, self._url.name))
            raise error from None
        return url

    def discard(self) -> None:
        """Remove the file from this machine."""
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            self._local.unlink()

    def _free(self) -> Url:
        from .filesystems import is_there

        if self._url.is_http:
            return self._url
        names = (path.name for path in numbered_paths(Path(self._url.name)))
        return next(url for name in names if not is_there(url := self._url.sibling(name)))
