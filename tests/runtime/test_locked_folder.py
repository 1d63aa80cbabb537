"""Spool folders of killed processes are removed by the next run; those that somebody holds, or that are not ours, never."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from importer.runtime import locked_folder
from importer.runtime.locked_folder import PREFIX, LockedFolder, Removed, hold, lock_new_folder, remove_abandoned

MAKE = (
    "import sys, pathlib; from importer.runtime.locked_folder import *; f = LockedFolder(pathlib.Path(sys.argv[1]))\n"
)


def _process(code: str, parent: Path) -> subprocess.Popen[str]:
    """A process that runs the code, says a line, and waits at its stdin."""
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", f"{MAKE}{code}\nsys.stdin.read()", str(parent)], **streams)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _killed(parent: Path, size: int = 0) -> None:
    """What a killed process leaves: a folder with a file and one below."""
    code = f"(f.path / 'a').write_bytes(bytes({size})); (f.path / 'd').mkdir(); (f.path / 'd' / 'b').write_bytes(bytes(7)); print('ready', flush=True)"
    with _process(code, parent) as process:
        process.kill()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("size", "said"), [(0, "7 bytes"), (4_993, "5.0 kB"), (1_670_000, "1.7 MB"), (23_999_993, "24 MB")]
)
def test_folder_of_a_killed_process_is_removed(tmp_path: Path, size: int, said: str) -> None:
    _killed(tmp_path, size)
    assert len(_names(tmp_path)) == 1
    removed = remove_abandoned(tmp_path)
    assert removed == Removed(1, size + 7)
    assert str(removed) == f"removed 1 spool folder ({said}) of a run that was killed"
    assert _names(tmp_path) == []
    assert remove_abandoned(tmp_path) == Removed()


def test_a_folder_that_was_just_made_is_no_killed_run(tmp_path: Path) -> None:
    """Another process may be about to lock it; it then makes another one."""
    made = tmp_path / f"{PREFIX}new"
    made.mkdir(mode=0o700)
    (made / "importer.lock.new").touch(mode=0o600)
    assert remove_abandoned(tmp_path) == Removed()
    assert _names(tmp_path) == []


def test_folder_that_cannot_be_locked_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", full)
        with pytest.raises(OSError, match="No space left"):
            LockedFolder(tmp_path)
    assert _names(tmp_path) == []


def test_several_folders_are_counted(tmp_path: Path) -> None:
    for size in (10, 20, 30):
        _killed(tmp_path, size)
    removed = remove_abandoned(tmp_path)
    assert str(removed) == "removed 3 spool folders (81 bytes) of runs that were killed"


def test_folder_of_a_living_process_stays(tmp_path: Path) -> None:
    with LockedFolder(tmp_path) as own, _process("print('ready', flush=True)", tmp_path) as process:
        assert len(_names(tmp_path)) == 2
        assert remove_abandoned(tmp_path) == Removed()
        process.kill()
        process.wait()
        assert remove_abandoned(tmp_path) == Removed(1, 0)
        assert _names(tmp_path) == [own.path.name]
    assert _names(tmp_path) == []


def test_worker_that_outlives_its_run_holds_the_folder(tmp_path: Path) -> None:
    with _process("print('ready', flush=True)", tmp_path) as run:
        (name,) = _names(tmp_path)
        code = f"hold(pathlib.Path({str(tmp_path / name)!r})); f.__exit__(None, None, None); print('ready', flush=True)"
        with _process(code, tmp_path) as worker:
            run.kill()
            run.wait()
            assert remove_abandoned(tmp_path) == Removed()
            assert _names(tmp_path) == [name]
            worker.kill()
    assert remove_abandoned(tmp_path).folders == 1


def test_worker_does_not_begin_in_a_folder_that_is_being_removed(tmp_path: Path) -> None:
    _killed(tmp_path)
    folder = next(tmp_path.iterdir())
    lock = os.open(folder / "importer.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(BlockingIOError):
        hold(folder)
    os.close(lock)


def test_forked_child_does_not_hold_the_folder_of_its_parent(tmp_path: Path) -> None:
    """A program that imports in one thread may fork in another; the child may live for ever."""
    code = """
import os, time
parent = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent:
    time.sleep(0.001)
print('ready', flush=True)
"""
    with _process(code, tmp_path) as child:
        assert remove_abandoned(tmp_path) == Removed(1, 0)
        assert child.stdin is not None
        child.stdin.close()


def test_cleaner_that_was_killed_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _killed(tmp_path, 3)
    with monkeypatch.context() as patch:
        patch.setattr(locked_folder.shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EIO, "no")))
        assert remove_abandoned(tmp_path) == Removed()
    assert remove_abandoned(tmp_path).folders == 1
    assert _names(tmp_path) == []


# ---- RACES ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["made", "opened"])
def test_folder_removed_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Another run comes in between: when the folder is made, and when its file is there but not locked yet."""
    met: list[Removed] = []
    where, name = (tempfile, "mkdtemp") if moment == "made" else (os, "open")
    real = getattr(where, name)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        result = real(*arguments, **options)
        if not met and PREFIX in str(arguments[0] if moment == "opened" else result):
            met.append(Removed())
            met.append(remove_abandoned(tmp_path))
        return result

    monkeypatch.setattr(where, name, interrupted)
    with LockedFolder(tmp_path) as folder:
        assert len(met) == 2
        assert _names(tmp_path) == [folder.path.name]
        assert remove_abandoned(tmp_path) == Removed()
        (folder.path / "file").write_text("here")
    assert _names(tmp_path) == []


def test_many_make_and_remove_at_once(tmp_path: Path) -> None:
    """A folder is there as long as its maker needs it, whoever cleans."""
    missing: list[str] = []
    done = threading.Event()

    def make() -> None:
        for _ in range(100):
            with LockedFolder(tmp_path) as folder:
                (folder.path / "a").write_text("x")
                if _names(folder.path) != ["a", "importer.lock"]:
                    missing.append(folder.path.name)

    def clean() -> None:
        while not done.is_set():
            remove_abandoned(tmp_path)

    makers, cleaners = ([threading.Thread(target=work) for _ in range(3)] for work in (make, clean))
    for thread in [*makers, *cleaners]:
        thread.start()
    for thread in makers:
        thread.join()
    done.set()
    for thread in cleaners:
        thread.join()
    assert missing == []
    assert _names(tmp_path) == []


# ---- WHAT IS LEFT ALONE -----------------------------------------------------------------------------------------


def _abandoned(parent: Path) -> Path:
    _killed(parent)
    return next(parent.glob(f"{PREFIX}*"))


def test_folder_that_others_may_enter_stays(tmp_path: Path) -> None:
    _abandoned(tmp_path).chmod(0o755)
    assert remove_abandoned(tmp_path) == Removed()
    assert len(_names(tmp_path)) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user_stays(tmp_path: Path) -> None:
    os.chown(_abandoned(tmp_path), 65534, 65534)
    assert remove_abandoned(tmp_path) == Removed()
    assert len(_names(tmp_path)) == 1


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Neither a link in place of the folder, nor one in it, nor one in place of the lock file."""
    (tmp_path / "precious").mkdir(mode=0o700)
    (tmp_path / "precious" / "importer.lock").touch()
    (tmp_path / "precious" / "file").write_text("here")
    parent = tmp_path / "t"
    parent.mkdir()
    (parent / f"{PREFIX}link").symlink_to(tmp_path / "precious")
    assert remove_abandoned(parent) == Removed()
    folder = _abandoned_beside(parent)
    (folder / "link").symlink_to(tmp_path / "precious")
    (folder / "d" / "link").symlink_to(tmp_path / "precious" / "file")
    assert remove_abandoned(parent).folders == 1
    folder = _abandoned_beside(parent)
    (folder / "importer.lock").unlink()
    (folder / "importer.lock").symlink_to(tmp_path / "precious" / "file")
    assert remove_abandoned(parent) == Removed()
    assert (tmp_path / "precious" / "file").read_text() == "here"


def _abandoned_beside(parent: Path) -> Path:
    before = set(parent.iterdir())
    _killed(parent)
    return (set(parent.iterdir()) - before).pop()


def test_folders_without_our_lock_file_stay(tmp_path: Path) -> None:
    for name in (f"{PREFIX}x", "importer-abc", "pymp-abc", "other"):
        (tmp_path / name).mkdir(mode=0o700)
        (tmp_path / name / "file").touch()
    for name in ("importer-empty", "pymp-empty"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / f"{PREFIX}file").touch()
    before = _names(tmp_path)
    assert remove_abandoned(tmp_path) == Removed()
    assert _names(tmp_path) == before


def test_empty_folder_of_one_killed_before_its_lock_is_removed(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}x").mkdir(mode=0o700)
    assert remove_abandoned(tmp_path) == Removed()
    assert _names(tmp_path) == []


def test_sockets_of_a_killed_command_are_removed_without_a_word(tmp_path: Path) -> None:
    folder = tmp_path / "pymp-abc"
    folder.mkdir(mode=0o700)
    lock = lock_new_folder(folder)
    assert lock is not None
    assert (remove_abandoned(tmp_path), _names(tmp_path)) == (Removed(), ["pymp-abc"])
    os.close(lock)
    locked_folder._held.discard(lock)
    assert (remove_abandoned(tmp_path), _names(tmp_path)) == (Removed(), [])


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_where_there_are_no_locks_folders_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Some network file systems: a run works as ever, and nobody removes its folder, even if locks come back."""

    def flock(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        folder = LockedFolder(tmp_path)
        hold(folder.path)
        assert remove_abandoned(tmp_path) == Removed()
    assert remove_abandoned(tmp_path) == Removed()
    assert _names(tmp_path) == [folder.path.name]
    folder.__exit__(None, None, None)
    assert _names(tmp_path) == []


def test_folder_without_room_for_its_lock_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        with pytest.raises(OSError, match="No space left"):
            LockedFolder(tmp_path)
    assert _names(tmp_path) == []


def test_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    assert remove_abandoned(tmp_path / "missing") == Removed()
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "missing"))):
        LockedFolder(tmp_path / "missing")


_ENDING = """
removals = 0
def count(event, args):
    global removals
    if event not in {"os.remove", "os.rmdir"}:
        return
    removals += 1
    if removals == AT:
        if HOW == "kill":
            os.kill(os.getpid(), 9)
        raise OSError(5, "injected")
(f.path / "d").mkdir()
for name in ("a", "z", "d/b"):
    (f.path / name).write_text(name)
sys.addaudithook(count)
f.__exit__(None, None, None)
"""


@pytest.mark.parametrize("how", ["kill", "fail"])
def test_what_an_ending_process_could_not_remove_is_removed_by_the_next(tmp_path: Path, how: str) -> None:
    left = 0
    for at in range(1, 7):
        code = f"{MAKE}import os\nAT, HOW = {at}, {how!r}\n{_ENDING}"
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (-9 if how == "kill" else 0, ""), at
        left += len(_names(tmp_path))
        remove_abandoned(tmp_path)
        assert _names(tmp_path) == [], at
    # Three files, the folder in it, the lock file, and the folder.
    assert left == 6
