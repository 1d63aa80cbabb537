"""Owns the settings of the service: frozen, checked on construction; and the folder that its state lies in."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import MachineError, UsageError
from ..settings import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..settings import Dsn

#: A token that protects a service which strangers reach; 16 characters of base64 are 96 bits.
_SHORTEST_TOKEN = 16
#: Workers listen on sockets below the scratch folder, and the path of a socket has at most 104 bytes (macOS).
_LONGEST_FOLDER = 64
#: Excel's own limits.
_SHEET_ROWS, _SHEET_COLUMNS = 1_048_576, 16_384


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that the service is told.

    Attributes:
        folder: where uploads, rejects and the history lie.
        dsn: of the target server; None: the embedded one.
        host: to listen on.
        port: likewise; 0: any free one.
        token: that callers must know; None: everybody on this machine may call.
        allow_hosts: names by which callers may call the service, besides its own.
        allow_tables: patterns of tables that may be loaded into; empty: those that the service created.
        contracts: folder of contracts that callers may choose from, or None.
        concurrency: how many imports run at once; inspections have as many places of their own.
        queue: how many may wait for a place.
        upload_bytes: of one workbook.
        inflated_bytes: of one part of it, unzipped.
        rows: of a sheet.
        columns: of a sheet.
        memory_bytes: that one worker may use.
        seconds: that an import, or the sending of a workbook, may take.
        idle_seconds: that a sender may be silent.
        keep_upload_seconds: how long an upload is kept after its last use.
        keep_days: how long ended runs are listed.
        retry_for: seconds that trouble with the server may last.
        workers: processes that read and write for one import; None: one a core.

    Raises:
        UsageError: a value that cannot be meant, or one that would leave the service open to strangers.
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
    rows: int = _SHEET_ROWS
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
                f"everybody in the network could load tables: a token is required to listen on {self.host}",
                choice="set IMPORTER_TOKEN to a long secret, or listen on 127.0.0.1",
            )
        if self.token is not None and (len(self.token) < _SHORTEST_TOKEN or not self.token.isascii()):
            raise UsageError(
                f"a token has at least {_SHORTEST_TOKEN} ASCII characters",
                choice='python3 -c "import secrets; print(secrets.token_urlsafe())" makes one',
            )
        if len(os.fsencode(self.folder)) > _LONGEST_FOLDER:
            raise UsageError(
                f"the path of the service's folder has more than {_LONGEST_FOLDER} bytes, too many for sockets in it",
                place=str(self.folder),
                choice="--folder with a shorter path",
            )
        if self.contracts is not None and not self.contracts.is_dir():
            raise UsageError(
                "the folder of contracts is not there", place=str(self.contracts), choice="--contracts DIR"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can call."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def uploads(self) -> Path:
        """Where workbooks lie that were sent."""
        return self.folder / "uploads"

    @property
    def results(self) -> Path:
        """Where the rejects of ended runs lie."""
        return self.folder / "runs"

    @property
    def scratch(self) -> Path:
        """Where children have their temporary files."""
        return self.folder / "t"


@contextlib.contextmanager
def owned_folder(config: Config) -> Iterator[None]:
    """The service's folder, made where it is missing, for this process alone; scratch of a dead one is gone.

    Raises:
        MachineError: it cannot be made.
        UsageError: another service uses it.
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
            choice="--folder DIR",
        ) from None  # fmt: skip
