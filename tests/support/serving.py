"""Starts the real service as a process, and talks to it as a client does."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
from openpyxl import Workbook
from support.asking import ask, user_session
from support.commandline import Running, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from importer.settings import Dsn

SECONDS = 240
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@dataclass
class Service:
    """A service that runs, and its client."""

    running: Running
    url: str
    folder: Path
    client: httpx.Client
    dsn: Dsn

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def upload(self, content: bytes, name: str = "data.xlsx", path: str = "/upload", **options: Any) -> httpx.Response:
        """Send a workbook."""
        files = {"file": (name, content, XLSX)}
        if isinstance(options.get("contract"), tuple):
            files["contract"] = options.pop("contract")
        return self.client.post(path, files=files, data={k: str(v) for k, v in options.items()})

    def json(self, path: str, **parameters: Any) -> Any:
        answer = self.client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def run(self, run: str) -> dict[str, Any]:
        return self.json(f"/runs/{run}")["run"]

    def until(self, run: str, *states: str, stage: str | None = None) -> dict[str, Any]:
        """The run, once it is in one of these states (and that stage)."""
        found: dict[str, Any] = {}

        def reached() -> bool:
            found.update(self.run(run))
            return found["state"] in states and (stage is None or (found["progress"] or {}).get("stage") == stage)

        wait_for(reached)
        return found

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return ask(self.dsn, sql)

    def sql(self, *statements: str) -> None:
        with user_session(self.dsn, autocommit=True) as session:
            for statement in statements:
                session.run(statement)

    def kept(self) -> list[str]:
        """The workbooks that the service keeps."""
        return sorted(str(p.relative_to(self.folder)) for p in (self.folder / "uploads").rglob("*.xls[xm]"))

    def memory(self) -> int:
        """Own memory of the service's process (not of its children), in bytes."""
        found = psutil.Process(self.running.process.pid).memory_info()
        return found.rss - found.shared


def wait_for(condition: Any, seconds: float = SECONDS) -> Any:
    """The first truthy value of `condition()`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)
    return value


@contextlib.contextmanager
def serving(dsn: Dsn, folder: Path, *arguments: object, token: str | None = None, **env: str) -> Iterator[Service]:
    """A service on a free port, with that folder."""
    command = ["-m", "importer", "serve", "--port", "0", "--to", dsn.text, "--folder", str(folder)]
    # Warnings of libraries are not ours to make errors of, in a process that we do not write.
    environment = {"PYTHONWARNINGS": "default", **({"IMPORTER_TOKEN": token} if token else {}), **env}
    with started(sys.executable, *command, *map(str, arguments), env=environment) as running:
        out = running.temp.parent / "out"
        found = running.wait_for(lambda: re.search(r"serving on (http://\S+:\d+)", out.read_text()))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with httpx.Client(base_url=found[1], timeout=SECONDS, headers=headers, trust_env=False) as client:
            try:
                yield Service(running, found[1], folder, client, dsn)
            finally:
                # Children have sessions of their own.
                running.tree()
                kill_all(running)


def kill_all(running: Running) -> None:
    """Kill the service and everything that it started, as a crash of the machine would."""
    tree = running.tree()
    # All are stopped first: what notices that its parent is gone would tidy up before its own turn comes.
    for end in (psutil.Process.suspend, psutil.Process.kill):
        for process in tree:
            with contextlib.suppress(psutil.Error):
                end(process)
    running.process.wait()


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="is-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def book(*rows: list[Any], sheet: str = "Data") -> bytes:
    """A workbook with these rows."""
    made = Workbook()
    assert made.active is not None
    made.active.title = sheet
    for row in rows:
        made.active.append(row)
    content = io.BytesIO()
    made.save(content)
    return content.getvalue()


def numbers(first: int, last: int) -> bytes:
    """A workbook with a column of numbers and one of texts."""
    return book(["n", "word"], *[[n, f"word {n}"] for n in range(first, last + 1)])


def events(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """The server-sent events of a streamed answer."""
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


@contextlib.contextmanager
def held(dsn: Dsn, table: str) -> Iterator[None]:
    """A lock on a table: what wants to publish into it must wait."""
    with user_session(dsn) as session:
        session.run(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
        session.rollback()


@contextlib.contextmanager
def connected(service: Service) -> Iterator[socket.socket]:
    """A bare connection, for clients that behave badly."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS) as connection:
        yield connection


def head(service: Service, path: str, *lines: str) -> bytes:
    """The head of a POST."""
    shown = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{service.port}", *lines, "", ""]
    return "\r\n".join(shown).encode()


def disk(folder: Path) -> int:
    """Bytes of all files in a folder."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def is_root() -> bool:
    return os.geteuid() == 0
