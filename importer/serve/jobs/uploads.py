"""Owns the uploaded workbooks: where they are stored, how long they are kept, and how much space they may take."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from importer.runtime.locked_folder import tree_bytes
from importer.runtime.output_file import write_file
from importer.serve.config import report_removed
from importer.serve.errors import RequestError, stamp
from importer.serve.models.workbook import InspectedSheet, UploadInfo
from importer.text_files import WORKBOOK_SUFFIXES

if TYPE_CHECKING:
    from pathlib import Path

    from importer.serve.config import Config

#: Maximum number of uploads kept at once, and of their total bytes as a multiple of the limit for one upload.
_MAX_UPLOADS, _MAX_TOTAL_FACTOR = 32, 8
_METADATA_FILE = "about.json"
_MAX_NAME_CHARS = 255
#: Maximum bytes of a file name without its suffix; file systems allow 255 in all.
_MAX_STEM_BYTES = 120


@dataclass
class Upload:
    """An uploaded workbook.

    Attributes:
        id: id of the upload, 32 hex digits.
        name: file name that the sender gave, for display; never used as a path.
        path: path of the stored file.
        size: size of the file in bytes.
        once: whether the upload is removed as soon as its last user releases it, and cannot be named in requests.
        used: time of the last use, in seconds since the epoch.
        users: ids of the runs and inspections that are using it.
        inspections: cached results of inspections, by the options of the inspection.
    """

    id: str
    name: str
    path: Path
    size: int = 0
    once: bool = False
    used: float = field(default_factory=time.time)
    users: set[str] = field(default_factory=set)
    inspections: dict[str, InspectedSheet] = field(default_factory=dict)


class Uploads:
    """All uploads of a service.

    Args:
        config: configuration of the service.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._all: dict[str, Upload] = {}
        self._receiving: dict[str, int] = {}

    def load(self, needed: set[str]) -> None:
        """Load the uploads of the previous service; remove incomplete ones, and `once` ones whose id is not needed."""
        removed = 0
        for folder in self._config.uploads.iterdir():
            try:
                about = json.loads((folder / _METADATA_FILE).read_text(encoding="utf-8"))
                upload = Upload(folder.name, about["name"], folder / about["file"], about["size"], about["once"])
                if upload.path.stat().st_size != upload.size or (upload.once and upload.id not in needed):
                    raise ValueError  # noqa: TRY301 - one exit for everything that cannot be used
            except (OSError, ValueError, KeyError, TypeError):
                removed += tree_bytes(folder)
                shutil.rmtree(folder, ignore_errors=True)
                continue
            self._all[upload.id] = upload
        report_removed(removed, "uploads")

    def begin(self, name: str | None, announced: int) -> Upload:
        """Reserve a place for a workbook that is about to be received.

        Args:
            name: file name that the sender gave.
            announced: bytes to reserve.

        Raises:
            RequestError: the name is missing or not that of a workbook, or too many uploads are kept already.
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
        most = _MAX_TOTAL_FACTOR * self._config.upload_bytes
        if len(self._all) + len(self._receiving) < _MAX_UPLOADS and held + announced <= most:
            return
        # Uploads without users are removed to make room, least recently used first.
        free = min((u for u in self._all.values() if not u.users), key=lambda u: u.used, default=None)
        if free is None or time.time() - free.used < 1:
            raise RequestError(429, "too many workbooks are in use", choice="try again later", retry_after=10)
        self.remove(free.id)
        self._check_room(announced)

    def keep(self, upload: Upload, size: int, *, once: bool) -> None:
        """Keep a workbook that was received completely."""
        upload.size, upload.once, upload.used = size, once, time.time()
        about = {"name": upload.name, "file": upload.path.name, "size": size, "once": once}
        write_file(upload.path.parent / _METADATA_FILE, json.dumps(about).encode())
        self._receiving.pop(upload.id, None)
        self._all[upload.id] = upload

    def drop(self, upload: Upload) -> None:
        """Delete an upload, received or not, with its files."""
        self._receiving.pop(upload.id, None)
        self._all.pop(upload.id, None)
        shutil.rmtree(upload.path.parent, ignore_errors=True)

    def get(self, upload: str) -> Upload:
        """Return an upload and mark it as used now.

        Raises:
            RequestError: there is no such upload, or it has been removed.
        """
        self.expire()
        found = self._all.get(upload)
        if found is None or found.once:
            raise RequestError(404, "there is no such upload, or it is gone", kind="UploadGone", choice="send it again")
        found.used = time.time()
        return found

    def acquire(self, upload: str, user: str) -> Upload | None:
        """Keep an upload as long as a user needs it; return None if it has been removed."""
        found = self._all.get(upload)
        if found is not None:
            found.users.add(user)
        return found

    def release(self, upload: str, user: str) -> None:
        """End the use of an upload by a user."""
        found = self._all.get(upload)
        if found is None:
            return
        found.users.discard(user)
        found.used = time.time()
        if found.once and not found.users:
            self.drop(found)

    def remove(self, upload: str) -> bool:
        """Remove an upload; return False if it is in use, and is removed only after its last user releases it."""
        found = self._all.get(upload)
        if found is None:
            return True
        if found.users:
            found.once = True  # removed after its last user
            return False
        self.drop(found)
        return True

    def expire(self) -> None:
        """Remove the uploads that were not used for `keep_upload_seconds`."""
        old = time.time() - self._config.keep_upload_seconds
        for upload in [u for u in self._all.values() if not u.users and (u.used < old or u.once)]:
            self.drop(upload)

    def describe(self, upload: Upload) -> UploadInfo:
        """Return an upload as answers show it."""
        until = stamp(upload.used + self._config.keep_upload_seconds)
        return UploadInfo(id=upload.id, name=upload.name, size=upload.size, expires_at=until)


def _shown_name(name: str | None) -> str:
    """Return the last part of the name that a sender gave (path separators of any system), for display."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    shown = "".join(c for c in last if c.isprintable()).strip()[-_MAX_NAME_CHARS:]
    if not shown:
        raise RequestError(400, "the file has no name", choice="send it as a form field 'file' with a file name")
    if os.path.splitext(shown)[1].lower() not in WORKBOOK_SUFFIXES:  # noqa: PTH122 - a name, not a path
        choice = f"send a file whose name ends in {', '.join(WORKBOOK_SUFFIXES)}"
        raise RequestError(400, f"{shown!r} is not the name of a workbook", choice=choice)
    return shown


def _file_name(shown: str) -> str:
    """Return a safe file name made from a displayed name; tables and lineage are named after it.

    It has no separator and no leading dot, and the file has a folder of its own, so that it cannot escape from there.
    """
    stem, suffix = os.path.splitext(shown)  # noqa: PTH122 - a name, not a path
    kept = "".join(c if c.isalnum() or c in "-_ ." else "_" for c in stem).strip(". ")
    short = kept.encode()[:_MAX_STEM_BYTES].decode("utf-8", "ignore").strip(". ")
    return f"{short or 'workbook'}{suffix.lower()}"
