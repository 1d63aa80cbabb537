"""Owns the workbooks that were sent: where they lie, how long they are kept, how much they may be in all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .answers import Refused, stamp

if TYPE_CHECKING:
    from pathlib import Path

    from .config import Config

SUFFIXES = (".xlsx", ".xlsm")
#: Uploads that are kept at once, and their bytes in all as a multiple of what one may have.
_MOST, _MOST_SIZES = 32, 8
_ABOUT = "about.json"
_LONGEST_NAME = 255
#: Bytes of a file name without suffix; file systems take 255.
_LONGEST_STEM = 120


@dataclass
class Upload:
    """A workbook that was sent.

    Attributes:
        id: of it.
        name: that the sender gave it; for people, never a path.
        path: where it lies.
        size: bytes.
        once: it came with the run that it is for, and goes with it.
        used: when it was used last, in seconds since the epoch.
        users: runs and inspections that need it now.
        inspections: what was found in it, by how it was read.
    """

    id: str
    name: str
    path: Path
    size: int = 0
    once: bool = False
    used: float = field(default_factory=time.time)
    users: set[str] = field(default_factory=set)
    inspections: dict[str, dict[str, Any]] = field(default_factory=dict)


class Uploads:
    """All uploads of a service.

    Args:
        config: of the service.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._all: dict[str, Upload] = {}
        self._receiving: dict[str, int] = {}

    def load(self, needed: set[str]) -> None:
        """Find what a former service left; what it was still receiving, and what no run needs any more, is removed."""
        for folder in self._config.uploads.iterdir():
            try:
                about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
                upload = Upload(folder.name, about["name"], folder / about["file"], about["size"], about["once"])
                if not upload.path.is_file() or (upload.once and upload.id not in needed):
                    raise ValueError  # noqa: TRY301 - one way out for all that is of no use
            except (OSError, ValueError, KeyError):
                shutil.rmtree(folder, ignore_errors=True)
                continue
            self._all[upload.id] = upload

    def begin(self, name: str | None, announced: int) -> Upload:
        """A place for a workbook that is about to be sent.

        Args:
            name: that the sender gives it.
            announced: bytes, at least.

        Raises:
            Refused: no name, no name of a workbook, or too many are kept already.
        """
        shown = _shown_name(name)
        self._check_room(announced)
        upload = Upload(secrets.token_hex(16), shown, self._config.uploads)
        folder = self._config.uploads / upload.id
        folder.mkdir(mode=0o700)
        upload.path = folder / _file_name(shown)
        self._receiving[upload.id] = announced
        return upload

    def _check_room(self, announced: int) -> None:
        self.expire()
        held = sum(u.size for u in self._all.values()) + sum(self._receiving.values())
        most = _MOST_SIZES * self._config.upload_bytes
        if len(self._all) + len(self._receiving) < _MOST and held + announced <= most:
            return
        # What nobody needs now makes place, the longest unused first.
        free = min((u for u in self._all.values() if not u.users), key=lambda u: u.used, default=None)
        if free is None or time.time() - free.used < 1:
            raise Refused(429, "too many workbooks are being worked on", choice="try again later", retry_after=10)
        self.remove(free.id)
        self._check_room(announced)

    def keep(self, upload: Upload, size: int, *, once: bool) -> None:
        """The workbook was received whole."""
        upload.size, upload.once, upload.used = size, once, time.time()
        about = {"name": upload.name, "file": upload.path.name, "size": size, "once": once}
        (upload.path.parent / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
        self._receiving.pop(upload.id, None)
        self._all[upload.id] = upload

    def drop(self, upload: Upload) -> None:
        """The workbook was not received, or is not wanted."""
        self._receiving.pop(upload.id, None)
        self._all.pop(upload.id, None)
        shutil.rmtree(upload.path.parent, ignore_errors=True)

    def get(self, upload: str) -> Upload:
        """An upload, used now.

        Raises:
            Refused: there is none, or none any more.
        """
        self.expire()
        found = self._all.get(upload)
        if found is None or found.once:
            raise Refused(404, "there is no such upload, or none any more", kind="UploadGone", choice="send it again")
        found.used = time.time()
        return found

    def hold(self, upload: str, user: str) -> Upload | None:
        """Keep an upload for a user; None when it is gone."""
        found = self._all.get(upload)
        if found is not None:
            found.users.add(user)
        return found

    def release(self, upload: str, user: str) -> None:
        """The user is done with it."""
        found = self._all.get(upload)
        if found is None:
            return
        found.users.discard(user)
        found.used = time.time()
        if found.once and not found.users:
            self.drop(found)

    def remove(self, upload: str) -> bool:
        """Remove an upload; False when somebody needs it."""
        found = self._all.get(upload)
        if found is None:
            return True
        if found.users:
            found.once = True  # gone behind its last user
            return False
        self.drop(found)
        return True

    def expire(self) -> None:
        """Remove what was not used for long."""
        old = time.time() - self._config.keep_upload_seconds
        for upload in [u for u in self._all.values() if not u.users and (u.used < old or u.once)]:
            self.drop(upload)

    def words(self, upload: Upload) -> dict[str, Any]:
        """An upload as answers tell it."""
        until = stamp(upload.used + self._config.keep_upload_seconds)
        return {"id": upload.id, "name": upload.name, "size": upload.size, "expires_at": until}


def _shown_name(name: str | None) -> str:
    """The last part of the name that a sender gave, whatever system it comes from, for people to read."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    shown = "".join(c for c in last if c.isprintable()).strip()[-_LONGEST_NAME:]
    if not shown:
        raise Refused(400, "the file has no name", choice="send it as a form field 'file' with a file name")
    if os.path.splitext(shown)[1].lower() not in SUFFIXES:  # noqa: PTH122 - a name, not a path
        raise Refused(400, f"{shown!r} is not a workbook by its name", choice="send an .xlsx or .xlsm file")
    return shown


def _file_name(shown: str) -> str:
    """A file name made of the letters and digits of a shown name: tables and lineage are named by it.

    It stands in a folder of its own, has no separator and no leading dot, so that it can lead nowhere.
    """
    stem, suffix = os.path.splitext(shown)  # noqa: PTH122 - a name, not a path
    kept = "".join(c if c.isalnum() or c in "-_ ." else "_" for c in stem).strip(". ")
    short = kept.encode()[:_LONGEST_STEM].decode("utf-8", "ignore").strip(". ")
    return f"{short or 'workbook'}{suffix.lower()}"
