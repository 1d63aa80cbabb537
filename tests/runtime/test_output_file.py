"""Files for users: whole or not there, a name is taken when it is chosen, and nobody's file is overwritten or removed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.faults import small_disk
from support.serving import is_root

from importer.runtime.output_file import identify, identify_before, numbered_paths, output_file, write_file


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _write(path: Path, content: bytes, **options: Any) -> Path:
    with output_file(path, **options) as made:
        made.file.write(content)
        made.finish()
        return made.place()


def test_nothing_has_the_name_before_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "x.csv"
    with output_file(path) as made:
        made.file.write(b"half")
        assert not path.exists()
        made.file.write(b" and half")
        identity = made.finish()
        assert not path.exists()
        assert made.place() == path
    assert path.read_bytes() == b"half and half"
    assert identify(path) == identity
    assert _names(path.parent) == ["x.csv"]


def test_what_is_not_placed_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), output_file(tmp_path / "x.csv") as made:
        made.file.write(b"half")
        raise ValueError("stop")
    assert _names(tmp_path) == []


def test_numbers_until_a_name_is_free(tmp_path: Path) -> None:
    placed = [_write(tmp_path / "x.csv", b"%d" % n).name for n in range(3)]
    assert placed == ["x.csv", "x-2.csv", "x-3.csv"]
    assert [(tmp_path / name).read_bytes() for name in placed] == [b"0", b"1", b"2"]


def test_known_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old")
    assert _write(path, b"new", known=identify(path)) == path
    assert path.read_bytes() == b"new"
    assert _names(tmp_path) == ["x.csv"]


@pytest.mark.parametrize("change", ["another file", "changed in place", "a folder"])
def test_what_another_program_made_meanwhile_stays(tmp_path: Path, change: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old")
    known = identify(path)
    if change == "changed in place":
        path.write_text("mended")
    else:
        path.unlink()
        path.mkdir() if change == "a folder" else path.write_text("other")
    if change == "a folder":
        with pytest.raises(OSError, match="not a file"):
            _write(path, b"new", known=known)
        return
    assert _write(path, b"new", known=known) == tmp_path / "x-2.csv"
    assert path.read_text() in {"mended", "other"}


def test_known_file_that_is_gone_leaves_its_name(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old")
    known = identify(path)
    path.unlink()
    assert _write(path, b"new", known=known) == path


def test_only_one_of_many_replaces_a_file(tmp_path: Path) -> None:
    """All know the same old file, and all begin to give their file its name at the same time."""
    path, count = tmp_path / "x.csv", 6
    path.write_text("old")
    code = (
        "import sys; from pathlib import Path; from importer.runtime.output_file import *\n"
        "path = Path(sys.argv[1]); known = identify(path)\n"
        "with output_file(path, known) as made:\n"
        "    made.file.write(sys.argv[2].encode()); made.finish()\n"
        "    print('ready', flush=True); sys.stdin.read(1); made.place()\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, path, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for n in range(count)
    ]
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
    for run in runs:
        assert run.stdin is not None
        run.stdin.write(b"x")
        run.stdin.flush()
    assert [run.wait(60) for run in runs] == [0] * count
    for run in runs:
        run.communicate()
    assert sorted(file.read_text() for file in tmp_path.iterdir()) == [str(n) for n in range(count)]
    assert _names(tmp_path) == sorted(p.name for p, _ in zip(numbered_paths(path), range(count), strict=False))


def test_symbolic_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    path = tmp_path / "x.csv"
    path.symlink_to("precious")
    assert write_file(path, b"new") == path
    assert not path.is_symlink()
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("dangling", [True, False])
def test_symbolic_link_made_meanwhile_is_left_alone(tmp_path: Path, dangling: bool) -> None:
    path = tmp_path / "x.csv"
    with output_file(path) as made:
        made.file.write(b"new")
        made.finish()
        path.symlink_to("nowhere" if dangling else "precious")
        (tmp_path / "precious").write_text("precious")
        assert made.place() == tmp_path / "x-2.csv"
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_parts_of_dead_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    code = (
        "import os, sys; from pathlib import Path; from importer.runtime.output_file import output_file\n"
        "held = output_file(Path(sys.argv[1])); made = held.__enter__()\n"
        "made.file.write(b'half'); made.file.flush(); print(made._part.name, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        part = run.stdout.readline().strip()
        others = [".x.csv.part", "x.csv.0123456789abcdef.part", ".y.csv.0123456789abcdef.part"]
        for name in others:
            (tmp_path / name).touch()
        assert _write(path, b"1") == path
        assert part in _names(tmp_path), "the part of a process that is alive"
        run.kill()
        run.wait()
        assert part in _names(tmp_path)
    assert _write(path, b"2") == tmp_path / "x-2.csv"
    assert _names(tmp_path) == sorted([*others, "x.csv", "x-2.csv"])


def test_long_names(tmp_path: Path) -> None:
    longest = tmp_path / ("ä" * 125 + ".csv")
    assert _write(longest, b"1") == longest
    with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)):
        _write(tmp_path / ("ä" * 126 + ".csv"), b"1")
    assert _names(tmp_path) == [longest.name]


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.csv"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    assert identify_before(path) is None
    with pytest.raises(OSError, match="not a file"):
        write_file(path, b"new")
    assert _names(tmp_path) == ["x.csv"]


def test_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on FAT: a name is taken by an empty file, which nobody else can take at the same time."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "x.csv").write_text("other")
    assert _write(tmp_path / "x.csv", b"new") == tmp_path / "x-2.csv"
    assert _names(tmp_path) == ["x-2.csv", "x.csv"]
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        _write(tmp_path / "y.csv", b"new")
    assert _names(tmp_path) == ["x-2.csv", "x.csv"]


def test_full_disk() -> None:
    with small_disk("64k") as disk:
        (disk / "x.csv").write_text("old")
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            write_file(disk / "x.csv", bytes(100_000))
        assert _names(disk) == ["x.csv"]
        assert (disk / "x.csv").read_text() == "old"


@pytest.mark.skipif(is_root(), reason="root may write everywhere")
def test_read_only_folder_of_another_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        write_file(tmp_path / "x.csv", b"new")


def test_read_only_disk() -> None:
    with small_disk("64k") as disk:
        (disk / "x.csv").write_text("old")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
            write_file(disk / "x.csv", b"new")
        assert _names(disk) == ["x.csv"]


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_failure_of_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    (tmp_path / "x.csv").write_text("old")

    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with (
        monkeypatch.context() as patched,
        pytest.raises(OSError, match=os.strerror(errno.EIO)),
        output_file(tmp_path / "x.csv", identify(tmp_path / "x.csv")) as made,
    ):
        patched.setattr(*((os, call, fail) if call == "fsync" else (made.file, "flush", fail)), raising=False)
        made.file.write(b"new")
        made.finish()
    assert _names(tmp_path) == ["x.csv"]
    assert (tmp_path / "x.csv").read_text() == "old"
