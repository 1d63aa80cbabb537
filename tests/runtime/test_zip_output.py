"""A zip that could not be finished, because of its file or of another one, is collected without a word."""

from __future__ import annotations

import errno
import io
import zipfile

import pytest

from importer.runtime.zip_output import ZipOutput


class _Failing(io.BytesIO):
    """A file on a disk that is full after some bytes."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self.tell() + len(data) > 60:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_zip_ends_quietly_behind_the_end_of_its_file() -> None:
    """Where something else failed, the file is closed first."""
    file = io.BytesIO()
    made = zipfile.ZipFile(ZipOutput(file), "w")  # type: ignore[arg-type]
    made.writestr("a", "x" * 100)
    file.close()
    made.close()


def test_zip_ends_quietly_behind_an_error() -> None:
    made = zipfile.ZipFile(ZipOutput(_Failing()), "w")  # type: ignore[arg-type]
    with pytest.raises(OSError, match="No space"):
        made.writestr("a", "x" * 100)
    made.close()


def test_what_is_written_is_the_zip() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(ZipOutput(file), "w") as made:  # type: ignore[arg-type]
        made.writestr("a", "x" * 100)
    with zipfile.ZipFile(file) as found:
        assert found.read("a") == b"x" * 100
