"""Lists the files that a pattern such as `s3://bucket/in/*.xlsx`, or the address of a folder, names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.runtime.interruptible import CallThread, await_result
from importer.runtime.retry import Retry

if TYPE_CHECKING:
    from importer.urls import Url

#: Seconds to keep retrying while the server fails.
_RETRY_SECONDS = 30.0


def list_urls(url: Url) -> list[Url]:
    """Return the addresses of the files that an address of a folder or a pattern names, sorted.

    Raises:
        UsageError: no library for such addresses is installed.
        SourceRefused: there is no such folder, or it may not be listed.
        SourceUnavailable: the server failed for too long.
    """
    from importer.errors import SourceUnavailable

    from .filesystems import list_files

    retry, thread = Retry(_RETRY_SECONDS), CallThread("list")
    try:
        while True:
            try:
                return sorted(await_result(thread.submit(lambda: list_files(url))), key=lambda found: found.text)
            except SourceUnavailable as exc:
                retry.wait_or_raise(exc)
    finally:
        thread.close()
