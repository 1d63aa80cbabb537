"""Owns the settings of the service, frozen and checked on construction, and the folder that holds its state."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from importer.errors import MachineError, UsageError
from importer.excel.addresses import MAX_ROWS
from importer.runtime.data_dir import data_dir
from importer.runtime.locked_folder import size_text, tree_bytes
from importer.settings import MIB, find_dsn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.settings import Dsn

#: Least length of the token, for a service that strangers can reach; 16 characters of base64 are 96 bits.
_MIN_TOKEN_CHARS = 16
#: Longest path of the folder, in bytes: workers listen on sockets in its scratch folder, and the path of a socket has
#: at most 104 bytes (macOS).
_MAX_FOLDER_BYTES = 64


#: Fields that an option of the command line sets under another name; those of the first kind are given in MiB.
_SIZES = {"max_upload": "upload_bytes", "max_inflated": "inflated_bytes", "memory": "memory_bytes"}
_RENAMED = {"max_rows": "rows", "max_columns": "columns", "timeout": "seconds", "idle": "idle_seconds"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of the service.

    Attributes:
        folder: folder of uploads, rejects and the run history.
        dsn: connection string of the target server; None for the embedded server.
        host: host name or address to listen on.
        port: port to listen on; 0 for any free port.
        token: secret that callers must send; None lets everybody on this machine call.
        allow_hosts: host names that callers may use for the service, in addition to its own.
        allow_tables: patterns of tables that may be loaded into; empty for only those that the service created.
        contracts: folder of contracts that callers may choose from, or None.
        concurrency: largest number of imports that run at once; the same limit holds for inspections, separately.
        queue: largest number of imports that wait for a free place.
        upload_bytes: largest size of a workbook.
        inflated_bytes: largest unzipped size of one part of a workbook.
        rows: largest number of rows of a sheet.
        columns: largest number of columns of a sheet.
        memory_bytes: largest amount of memory that one worker may use.
        seconds: longest time that an import, or receiving a workbook, may take.
        idle_seconds: longest time that a sender may send nothing.
        keep_upload_seconds: how long an upload is kept after its last use.
        keep_days: how long runs are kept in the list after their end.
        retry_for: how long a failure of the database server is retried, in seconds.
        workers: number of processes that read and write for one import; None for one per core.

    Raises:
        UsageError: a value is invalid, or would leave the service open to strangers.
    """

    folder: Path
    dsn: Dsn | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = field(default=None, repr=False)
    allow_hosts: tuple[str, ...] = ()
    allow_tables: tuple[str, ...] = ()
    contracts: Path | None = None
    concurrency: int = 2
    queue: int = 16
    upload_bytes: int = 512 * MIB
    inflated_bytes: int = 8192 * MIB
    rows: int = MAX_ROWS
    columns: int = 1_600
    memory_bytes: int = 2048 * MIB
    seconds: float = 900.0
    idle_seconds: float = 30.0
    keep_upload_seconds: float = 3600.0
    keep_days: float = 30.0
    retry_for: float = 10.0
    workers: int | None = None

    def __post_init__(self) -> None:
        if not self.is_loopback and not self.token:
            raise UsageError(
                f"a token is required to listen on {self.host}, or everybody in the network could load tables",
                choice="set IMPORTER_TOKEN to a long secret, or listen on 127.0.0.1",
            )
        if self.token is not None and (len(self.token) < _MIN_TOKEN_CHARS or not self.token.isascii()):
            raise UsageError(
                f"a token must have at least {_MIN_TOKEN_CHARS} ASCII characters",
                choice='create one with: python3 -c "import secrets; print(secrets.token_urlsafe())"',
            )
        if len(os.fsencode(self.folder)) > _MAX_FOLDER_BYTES:
            raise UsageError(
                f"the path of the service's folder has more than {_MAX_FOLDER_BYTES} bytes, too many for sockets in it",
                place=str(self.folder),
                choice="name a --folder with a shorter path",
            )
        if self.contracts is not None and not self.contracts.is_dir():
            raise UsageError(
                "the folder of contracts does not exist",
                place=str(self.contracts),
                choice="name another --contracts DIR",
            )

    @classmethod
    def from_options(cls, *, to: str | None, folder: str | None, contracts: str | None, **options: Any) -> Config:
        """Return the settings that options of the command line mean.

        Args:
            to: connection string of the target server; None for that of the environment, else the embedded one.
            folder: folder of uploads, rejects and the run history; None for one in the data directory.
            contracts: folder of contracts, or None.
            options: other options by name; None means the default.

        Raises:
            UsageError: a value is invalid, or would leave the service open to strangers.
        """
        given = {name: value for name, value in options.items() if value is not None}
        sizes = {_SIZES[name]: given.pop(name) * MIB for name in _SIZES.keys() & given}
        renamed = {_RENAMED[name]: given.pop(name) for name in _RENAMED.keys() & given}
        return cls(
            folder=Path(folder).resolve() if folder else data_dir() / "service", dsn=find_dsn(to),
            contracts=Path(contracts).resolve() if contracts else None, **given, **sizes, **renamed,
        )  # fmt: skip

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def owns_ledger(self) -> bool:
        """Whether tables that the command line loaded count as the service's own: its callers are the same user's."""
        return self.dsn is None and self.is_loopback and not self.allow_hosts

    @property
    def uploads(self) -> Path:
        """Folder of the uploaded workbooks."""
        return self.folder / "uploads"

    @property
    def results(self) -> Path:
        """Folder of the rejects of ended runs."""
        return self.folder / "runs"

    def run_folder(self, run: str) -> Path:
        """Return the folder that holds the files of a run."""
        return self.results / run

    @property
    def scratch(self) -> Path:
        """Folder of the temporary files of child processes."""
        return self.folder / "t"


def report_removed(size: int, what: str) -> None:
    """Tell the operator how many bytes were removed that a killed service had left, if there were any."""
    if size and sys.stderr is not None:
        sys.stderr.write(f"importer: removed {size_text(size)} of {what} of a service that was killed\n")
        sys.stderr.flush()


@contextlib.contextmanager
def lock_folder(config: Config) -> Iterator[None]:
    """Lock the service's folder for this process; create it if missing, and remove scratch that a dead service left.

    Raises:
        MachineError: the folder cannot be created or used.
        UsageError: another service uses the folder.
    """
    import fasteners

    try:
        config.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        config.folder.chmod(0o700)
        lock: Any = fasteners.InterProcessLock(str(config.folder / "service.lock"))
        if not lock.acquire(blocking=False):
            raise UsageError(
                "another service uses the folder", place=str(config.folder), choice="stop it, or name another --folder"
            )
        try:
            report_removed(tree_bytes(config.scratch), "temporary files")
            shutil.rmtree(config.scratch, ignore_errors=True)
            for path in (config.uploads, config.results, config.scratch):
                path.mkdir(mode=0o700, exist_ok=True)
            yield
            shutil.rmtree(config.scratch, ignore_errors=True)
        finally:
            lock.release()
    except OSError as exc:
        raise MachineError(
            f"the service's folder cannot be used ({exc.strerror or exc})", place=exc.filename or str(config.folder),
            choice="name another --folder DIR",
        ) from None  # fmt: skip
