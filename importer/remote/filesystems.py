"""Reads, lists and writes files by fsspec; the only module that imports it, and only when such an address is used."""

from __future__ import annotations

import contextlib
import posixpath
import secrets
import threading
from typing import TYPE_CHECKING, Any

from importer.errors import MachineError, SourceRefused, SourceUnavailable, UsageError

from .library_errors import library_error, status_of
from .reader import RANGE_BYTES, changed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from importer.urls import Url

#: Stores of objects: they read ranges side by side, and an object appears whole, or not at all.
_S3, _GOOGLE, _AZURE = frozenset({"s3", "s3a"}), frozenset({"gs", "gcs"}), frozenset({"az", "abfs", "abfss"})
_SSH = frozenset({"sftp", "ssh"})
#: What the libraries say that changes with the content, the surest first.
_VERSION_KEYS = (
    "generation", "ETag", "etag", "md5Hash", "mtime", "modified", "last_modified", "LastModified", "updated", "created",
)  # fmt: skip
_CHANGED, _MISSING = 412, 404
_systems: dict[str, Any] = {}
_systems_lock = threading.Lock()


def open_system(url: Url) -> tuple[Any, str]:
    """Return the file system of an address, which is kept for others of the same place, and the path in it.

    Raises:
        UsageError: no library for such addresses is installed, or known.
        SourceRefused: the server cannot be used.
        SourceUnavailable: the server failed; it may pass.
    """
    with _system_errors(url):
        try:
            from fsspec.config import conf
            from fsspec.core import url_to_fs
        except ModuleNotFoundError:
            raise _missing(url) from None
        options = {}
        if url.scheme in _SSH:
            _require_sshfs(url)
            # That library trusts every host otherwise; an empty tuple stands for the user's own list of hosts.
            options = {} if "known_hosts" in conf.get(url.scheme, {}) else {"known_hosts": ()}
        with _systems_lock:
            root = url.text if "::" in url.text else url.text[: len(url.text) - len(url.path)] + url.path.split("/")[0]
            system, path = url_to_fs(url.text, **options) if root not in _systems else (_systems[root], "")
            _systems[root] = system
        return system, path or system._strip_protocol(url.text)  # noqa: SLF001 - what `url_to_fs` calls


def _require_sshfs(url: Url) -> None:
    """Raise UsageError without sshfs: what fsspec has itself for such addresses trusts every host."""
    try:
        import sshfs  # noqa: F401
    except ModuleNotFoundError:
        raise _missing(url) from None


def _missing(url: Url) -> UsageError:
    return UsageError(
        f"what reads {url.scheme}:// is not installed", place=str(url), choice="pip install 'importer[cloud]'"
    )


@contextlib.contextmanager
def _system_errors(url: Url) -> Iterator[None]:
    """Turn what the libraries raise into our errors; none shows the address as it was given."""
    try:
        yield
    except (UsageError, SourceRefused, SourceUnavailable, MachineError):
        raise
    except ImportError:
        raise _missing(url) from None
    except Exception as exc:  # noqa: BLE001 - whatever one of many libraries raises
        raise library_error(url, exc) from None


class SystemReader:
    """Reads one version of a file by fsspec; see `RemoteReader`.

    Args:
        url: address of the file.

    Raises:
        UsageError: no library for such addresses is installed.
        SourceRefused: there is no such file, or it may not be read.
        SourceUnavailable: the server failed; it may pass.
    """

    def __init__(self, url: Url) -> None:
        self._url = url
        self._system, self._path = open_system(url)
        self._info = self._ask()
        if self._info.get("type") == "directory":
            raise SourceRefused(
                "the address is that of a folder", place=str(url), choice="end it with / to load the workbooks in it"
            )
        size = self._info.get("size")
        self.size: int | None = None if size is None else int(size)
        self.version = _version(self._info)
        known = {self._system.protocol} if isinstance(self._system.protocol, str) else set(self._system.protocol)
        self._is_s3, self._is_google = bool(known & _S3), bool(known & _GOOGLE)
        self.has_ranges = self.size is not None and bool(known & (_S3 | _GOOGLE | _AZURE))

    def read(self, start: int, stop: int) -> bytes:
        """Return a range of the file; see `RemoteReader`."""
        with _system_errors(self._url):
            try:
                found = self._read(start, stop)
            except Exception as exc:
                # The version that is asked for is gone.
                if isinstance(exc, FileNotFoundError) or status_of(exc) in {_CHANGED, _MISSING}:
                    raise changed(self._url) from None
                raise
        if len(found) != stop - start:
            raise SourceUnavailable(
                f"the answer was cut after {len(found):,} of {stop - start:,} bytes", place=str(self._url)
            )
        return found

    def _read(self, start: int, stop: int) -> bytes:
        if not self._is_s3:
            pinned = {"generation": self._info.get("generation")} if self._is_google else {}
            return bytes(self._system.cat_file(self._path, start=start, end=stop, **pinned))
        from fsspec.asyn import sync

        bucket, key, version = self._system.split_path(self._path)
        asked = {"Range": f"bytes={start}-{stop - 1}", "IfMatch": self._info.get("ETag")}
        asked |= {"VersionId": version or self._info.get("VersionId")}
        answer = self._system.call_s3("get_object", Bucket=bucket, Key=key, **{n: v for n, v in asked.items() if v})
        return bytes(sync(self._system.loop, answer["Body"].read))

    def stream(self) -> Generator[bytes]:
        """Yield the whole file; see `RemoteReader`."""
        got = 0
        with _system_errors(self._url), self._system.open(self._path, "rb") as file:
            while piece := bytes(file.read(RANGE_BYTES)):
                got += len(piece)
                yield piece
        self.check_unchanged()
        if self.size is not None and got != self.size:
            raise SourceUnavailable(f"the answer was cut after {got:,} of {self.size:,} bytes", place=str(self._url))

    def check_unchanged(self) -> None:
        """Ask for size and version again, where no request named the version; see `RemoteReader`."""
        if self._is_google or (self._is_s3 and self._info.get("ETag")):
            return
        found = self._ask()
        if (found.get("size"), _version(found)) != (self._info.get("size"), self.version):
            raise changed(self._url)

    def close(self) -> None:
        """Do nothing: the file system is kept."""

    def _ask(self) -> dict[str, Any]:
        with _system_errors(self._url):
            self._system.invalidate_cache()
            found: dict[str, Any] = self._system.info(self._path)
            return found


def _version(info: dict[str, Any]) -> str | None:
    name = next((name for name in _VERSION_KEYS if info.get(name)), None)
    version_id = info.get("VersionId")
    if name is None:
        return None
    return f"{info[name]}" + (f" {version_id}" if version_id and version_id != "null" else "")


def list_files(url: Url) -> list[Url]:
    """Return the addresses of the files that a pattern or the address of a folder names, in no order.

    Raises:
        UsageError, SourceRefused, SourceUnavailable: as `SystemReader`.
    """
    system, path = open_system(url)
    with _system_errors(url):
        system.invalidate_cache()
        found = system.glob(path, detail=True) if url.is_pattern else _in_folder(system, path)
        files = [name for name, about in found.items() if about.get("type") != "directory"]
        begins = "" if url.is_http else url.text[: len(url.text) - len(url.path)]
        return [type(url)(_address(url, system, name, begins)) for name in files]


def _in_folder(system: Any, path: str) -> dict[str, Any]:
    return {about["name"]: about for about in system.ls(path, detail=True)}


def _address(url: Url, system: Any, name: str, begins: str) -> str:
    """Return the address of a file that was listed: with user and password as they were given."""
    if url.is_http or "::" in url.text:
        return name if "://" in name else str(system.unstrip_protocol(name))
    authority = url.path.partition("/")[0]
    # Paths in a library begin with the bucket or the container, or with neither, as those on a host.
    within = system._strip_protocol(f"{begins}{authority}/x").strip("/")[:-1].rstrip("/")  # noqa: SLF001 - see above
    return f"{begins}{authority}/{name.strip('/').removeprefix(within).lstrip('/')}"


def is_there(url: Url) -> bool:
    """Return whether there is a file or folder at an address."""
    system, path = open_system(url)
    with _system_errors(url):
        system.invalidate_cache()
        return bool(system.exists(path))


def put_system_file(local: Path, url: Url) -> None:
    """Write a file to an address, whole or not at all.

    Stores of objects do that themselves. Elsewhere it is sent under another name beside its place, and then renamed.

    Raises:
        UsageError, SourceRefused, SourceUnavailable: as `SystemReader`; nothing was written.
    """
    system, path = open_system(url)
    known = {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
    with _system_errors(url):
        if known & (_S3 | _GOOGLE | _AZURE):
            system.put_file(str(local), path)
            _check_size(system, path, local, url)
            return
        folder, name = posixpath.split(path)
        part = posixpath.join(folder, f".{name}.{secrets.token_hex(8)}.part")
        with contextlib.suppress(Exception):  # many have no folders, or have this one
            system.makedirs(folder, exist_ok=True)
        try:
            system.put_file(str(local), part)
            _check_size(system, part, local, url)
            system.mv(part, path)
        except BaseException:
            with contextlib.suppress(Exception):
                system.rm_file(part)
            raise


def _check_size(system: Any, path: str, local: Path, url: Url) -> None:
    system.invalidate_cache()
    size, sent = system.info(path).get("size"), local.stat().st_size
    if size is not None and int(size) != sent:
        raise SourceUnavailable(f"only {size:,} of {sent:,} bytes arrived", place=str(url))
