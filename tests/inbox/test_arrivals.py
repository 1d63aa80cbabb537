"""What has arrived in a folder, and how a file gets into another one."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

import pytest

from importer.errors import MachineError
from importer.inbox.arrivals import Arrivals, sole_watcher
from importer.inbox.move import move_file, put_back_all
from importer.runtime.output_file import identify


class Look:
    """A folder that is looked at."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.arrivals = Arrivals(folder, self.said.append)

    def names(self) -> list[str]:
        return [a.path.name for a in self.arrivals.look()]


def test_a_file_has_arrived_when_two_looks_saw_the_same(tmp_path: Path) -> None:
    look, book = Look(tmp_path), tmp_path / "a.xlsx"
    book.write_bytes(b"1")
    assert look.names() == []
    book.write_bytes(b"12")
    assert look.names() == []
    assert look.names() == ["a.xlsx"]
    os.utime(book, (1, 1))
    (tmp_path / "old.csv").write_bytes(b"x")
    os.utime(tmp_path / "old.csv", (0, 0))
    assert look.names() == []
    assert look.names() == ["old.csv", "a.xlsx"], "the oldest first"
    assert look.said == []


def test_what_is_hidden_temporary_open_or_no_workbook_is_left(tmp_path: Path) -> None:
    for name in (".a.xlsx", "~$x.xlsx", "b.xlsx.part", "c.xlsx.crdownload", "~tmp.xlsx", "note.txt"):
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "x.xlsx").write_bytes(b"1")
    (tmp_path / "o.ods").write_bytes(b"1")
    (tmp_path / ".~lock.o.ods#").write_bytes(b"")
    (tmp_path / "empty.xlsx").write_bytes(b"")
    (tmp_path / "folder.xlsx").mkdir()
    (tmp_path / "link.xlsx").symlink_to(tmp_path / "x.xlsx")
    look = Look(tmp_path)
    assert look.names() + look.names() + look.names() == []
    assert len(look.said) == 5, "each reason once"
    assert any("open in Excel, says ~$x.xlsx" in text for text in look.said)
    (tmp_path / "~$x.xlsx").unlink()
    assert look.names() == ["x.xlsx"]


@pytest.mark.parametrize("kind", ["flock", "lockf"])
def test_a_file_that_another_process_holds_a_lock_on_is_left(tmp_path: Path, kind: str) -> None:
    book, (ready, told), (held, release) = tmp_path / "a.xlsx", os.pipe(), os.pipe()
    book.write_bytes(b"1")
    child = os.fork()
    if not child:
        os.close(release)
        with book.open("r+b") as file:
            getattr(fcntl, kind)(file, fcntl.LOCK_EX)
            os.write(told, b"1")
            os.read(held, 1)
        os._exit(0)
    try:
        os.read(ready, 1)
        look = Look(tmp_path)
        assert look.names() + look.names() == []
        assert "another process holds a lock" in look.said[0]
    finally:
        os.close(release)
        os.waitpid(child, 0)
    assert look.names() == ["a.xlsx"]


def test_one_process_at_a_time_watches_a_folder(tmp_path: Path) -> None:
    with sole_watcher(tmp_path), pytest.raises(MachineError, match="another process watches"), sole_watcher(tmp_path):
        pass
    with sole_watcher(tmp_path):
        pass


def place(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    done = tmp_path / "done"
    place(done, "a.xlsx", b"first")
    place(done, "a-2.xlsx", b"second")
    book = place(tmp_path, "a.xlsx", b"third")
    moved = move_file(book, identify(book), done / "a.xlsx")  # type: ignore[arg-type]
    assert moved == done / "a-3.xlsx"
    assert [p.read_bytes() for p in sorted(done.iterdir())] == [b"second", b"third", b"first"]
    assert list(tmp_path.glob("*.xlsx")) + list(tmp_path.glob(".*")) == []


def test_the_same_content_there_is_what_a_killed_process_left(tmp_path: Path) -> None:
    place(tmp_path / "done", "a.xlsx", b"same")
    book = place(tmp_path, "a.xlsx", b"same")
    assert move_file(book, identify(book), tmp_path / "done" / "a.xlsx") == tmp_path / "done" / "a.xlsx"  # type: ignore[arg-type]
    assert [p.name for p in (tmp_path / "done").iterdir()] == ["a.xlsx"]


def test_another_file_by_that_name_stays(tmp_path: Path) -> None:
    book = place(tmp_path, "a.xlsx", b"imported")
    known = identify(book)
    assert known is not None
    place(tmp_path, "b", b"newer").replace(book)
    assert move_file(book, known, tmp_path / "done" / "a.xlsx") is None
    assert book.read_bytes() == b"newer"
    book.unlink()
    assert move_file(book, known, tmp_path / "done" / "a.xlsx") is None


def test_a_file_that_was_taken_when_the_process_died_is_put_back(tmp_path: Path) -> None:
    place(tmp_path, ".importer-moving-0123abcd-a.xlsx", b"old")
    place(tmp_path, "a.xlsx", b"new")
    put_back_all(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a.xlsx": b"new", "a-2.xlsx": b"old"}


def test_a_file_that_cannot_be_moved_stays(tmp_path: Path) -> None:
    book = place(tmp_path, "a.xlsx", b"1")
    (tmp_path / "done").write_text("no folder")
    with pytest.raises(OSError):
        move_file(book, identify(book), tmp_path / "done" / "a.xlsx")  # type: ignore[arg-type]
    assert book.read_bytes() == b"1"


def test_moving_to_another_file_system(tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system to write to")
    with tempfile.TemporaryDirectory(dir=other) as folder:
        done = Path(folder)
        place(done, "a.xlsx", b"first")
        book = place(tmp_path, "a.xlsx", b"second" * 100_000)
        os.utime(book, (5, 7))
        assert move_file(book, identify(book), done / "a.xlsx") == done / "a-2.xlsx"  # type: ignore[arg-type]
        assert (done / "a-2.xlsx").read_bytes() == b"second" * 100_000
        assert (done / "a-2.xlsx").stat().st_mtime == 7
        assert list(tmp_path.iterdir()) == []
        assert sorted(p.name for p in done.iterdir()) == ["a-2.xlsx", "a.xlsx"]
