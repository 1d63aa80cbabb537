"""Uploaded workbooks on the disk: kept only when they are whole, known to the next service only when they still are."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest
from support.serving import Service, book, short_folder

from importer.serve.config import Config
from importer.serve.jobs.uploads import Uploads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


CONTRACT = '{"fields": [{"name": "n", "type": "integer"}]}'


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with short_folder() as folder:
        yield folder


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = Config(folder=tmp_path / "s")
    made.uploads.mkdir(parents=True)
    return made


def _kept(uploads: Uploads) -> Path:
    upload = uploads.begin("t.xlsx", 4)
    upload.path.write_bytes(b"book")
    uploads.keep(upload, 4, once=False)
    return upload.path


def _next_service(config: Config) -> Uploads:
    uploads = Uploads(config)
    uploads.load(set())
    return uploads


def test_next_service_knows_what_was_kept(config: Config) -> None:
    path = _kept(Uploads(config))
    assert sorted(file.name for file in path.parent.iterdir()) == ["about.json", "t.xlsx"]
    assert _next_service(config).get(path.parent.name).path == path


@pytest.mark.parametrize("left", [0, 3, 5])
def test_workbook_of_another_size_is_removed(config: Config, left: int) -> None:
    """As after a power failure before the file was on the disk."""
    path = _kept(Uploads(config))
    path.write_bytes(bytes(left))
    _next_service(config)
    assert not path.parent.exists()


def test_failure_while_it_is_kept_leaves_no_half_record(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    uploads = Uploads(config)
    upload = uploads.begin("t.xlsx", 4)
    upload.path.write_bytes(b"book")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            uploads.keep(upload, 4, once=False)
    assert [file.name for file in upload.path.parent.iterdir()] == ["t.xlsx"]
    _next_service(config)
    assert not upload.path.parent.exists()


def test_two_uploads_of_equal_names(service: Service) -> None:
    """Each has a folder of its own, so that neither takes the other's file or rejects."""
    runs = []
    for n in (1, 2):
        answer = service.upload(book(["n"], [n], [f"bad{n}"]), "same.xlsx", table=f"same_{n}", contract=CONTRACT)
        assert answer.status_code == 200, answer.text
        runs.append(answer.json()["run"]["id"])
    for n, run in enumerate(runs, 1):
        assert [cell["value"] for cell in service.json(f"/runs/{run}/rejects")["cells"]] == [f"bad{n}"]
        assert service.rows(f"select n from same_{n}") == [(n,)]
