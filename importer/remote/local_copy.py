"""Puts a local copy in the place of a source at an address, for as long as it is needed; imports nothing heavy."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from importer.errors import ImporterError, MachineError, SourceRefused
from importer.runtime.locked_folder import LockedFolder
from importer.runtime.progress import Clock
from importer.runtime.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from importer.settings import Settings
    from importer.urls import Url

    from .fetch import FetchedFile, FetchRules

_ABOUT = "about.json"
#: Bytes of a contract, which is text that somebody wrote.
_TEXT_BYTES = 16 << 20


@contextlib.contextmanager
def local_copy(settings: Settings, clock: Clock | None = None) -> Iterator[Settings]:
    """Yield the settings with a file in the place of an address, which is removed when the block ends.

    Errors that the block raises name the address in the place of the file. Without an address these are the settings
    themselves.

    Raises:
        ImporterError: the file cannot be fetched, see `fetch.fetch_into`; or it is not the one that was planned.
    """
    source, clock = settings.source, clock or Clock()
    if source is None:
        yield settings
        return
    from .fetch import FetchRules

    rules = FetchRules(settings.limits, settings.retry_for, clock.deadline, clock.say)
    with contextlib.ExitStack() as until:
        with clock.stage(Stage.OPEN), _folder_errors(settings):
            folder = source.folder or until.enter_context(LockedFolder(settings.temp_dir)).path
            path, found = _fetch_once(source.url, folder / _place_of(source.url), rules)
        if source.version not in {None, found.version}:
            raise SourceRefused(
                "the source is not the one that was planned", place=str(source.url),
                choice="plan again: importer plan",
            )  # fmt: skip
        until.enter_context(_named_by_address(path, source.url))
        yield replace(settings, workbook=path, source=replace(source, version=found.version, sha256=found.sha256))


def forget_copy(url: Url, folder: Path) -> None:
    """Remove the copy of an address from a folder that several imports share."""
    import shutil

    shutil.rmtree(folder / _place_of(url), ignore_errors=True)


def fetch_text(url: Url) -> bytes:
    """Return the content of a small file, such as a contract.

    Raises:
        ImporterError: see `fetch.fetch_into`.
    """
    import io

    from importer.settings import Limits

    from .fetch import FetchRules, fetch_into

    content = io.BytesIO()
    fetch_into(content, url, FetchRules(replace(Limits(), source_bytes=_TEXT_BYTES)))
    return content.getvalue()


def _place_of(url: Url) -> str:
    return hashlib.sha256(url.text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _fetch_once(url: Url, folder: Path, rules: FetchRules) -> tuple[Path, FetchedFile]:
    """Return the copy in a folder; fetch it, unless this or another process has done that."""
    import fasteners

    from .fetch import FetchedFile, fetch_into

    path, about = folder / "file" / url.name, folder / _ABOUT
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with fasteners.InterProcessLock(folder / "lock"):
        if about.exists():
            return path, FetchedFile(**json.loads(about.read_text(encoding="utf-8")))
        part = folder / "part"
        with part.open("w+b") as file:
            found = fetch_into(file, url, rules, folder)
        part.replace(path)
        about.write_text(json.dumps(found._asdict()), encoding="utf-8")
        return path, found


@contextlib.contextmanager
def _folder_errors(settings: Settings) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise MachineError(
            f"the machine refused: {exc.strerror or exc}", place=exc.filename or str(settings.temp_dir or ""),
            choice="free some space, or point --temp-dir at another disk",
        ) from None  # fmt: skip


@contextlib.contextmanager
def _named_by_address(path: Path, url: Url) -> Iterator[None]:
    """Put the address in the place of the copy's path in errors that the block raises."""
    try:
        yield
    except ImporterError as exc:
        local, shown = str(path), str(url)
        exc.fact = exc.fact.replace(repr(local), shown).replace(local, shown)
        for name in ("place", "choice"):
            text = getattr(exc, name)
            setattr(exc, name, None if text is None else text.replace(local, shown))
        exc.args = (exc.fact,)
        raise
