"""Fetching from a real web server with the faults that real ones have: no database, no library but the standard one."""

from __future__ import annotations

import hashlib
import io
import random
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from remote.conftest import make_certificate
from support.webserver import Handler, WebFolder, cuts, redirects, statuses, web_server

from importer.errors import (
    ImporterError,
    LimitExceeded,
    MachineError,
    SourceChanged,
    SourceRefused,
    SourceUnavailable,
    TimedOut,
)
from importer.remote import fetch, reader
from importer.remote import web as web_client
from importer.remote.fetch import FetchedFile, FetchRules, fetch_into
from importer.remote.upload import upload
from importer.runtime.retry import Deadline
from importer.settings import Limits
from importer.urls import Url

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = random.Random(7).randbytes(450_000)
PATH = "/in/jan.xlsx"


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges of 100 kB, so that a small file has five of them."""
    for module in (fetch, reader, web_client):
        monkeypatch.setattr(module, "RANGE_BYTES", 100_000)


@pytest.fixture
def web() -> Any:
    with web_server() as folder:
        folder.files[PATH] = CONTENT
        yield folder


def get(url: str, retry_for: float = 20.0, **limits: Any) -> tuple[bytes, FetchedFile]:
    file = io.BytesIO()
    found = fetch_into(file, Url(url), FetchRules(Limits(**limits), retry_for))
    return file.getvalue(), found


def error_of(url: str, retry_for: float = 0.3, **limits: Any) -> ImporterError:
    with pytest.raises(ImporterError) as caught:
        get(url, retry_for, **limits)
    return caught.value


def test_ranges_are_read_side_by_side_each_once_and_of_one_version(web: WebFolder) -> None:
    content, found = get(web.url(PATH))
    assert content == CONTENT
    assert found.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (found.size, found.version) == (len(CONTENT), web.headers[PATH]["If-Match"])
    asked = sorted(int(each[2].split("=")[1].split("-")[0]) for each in web.asked if each[2])
    assert asked == [0, 100_000, 200_000, 300_000, 400_000]


@pytest.mark.parametrize(("ranges", "etags"), [(False, True), (False, False), (True, False)])
def test_a_server_without_ranges_or_etags(web: WebFolder, ranges: bool, etags: bool) -> None:
    web.ranges, web.etags = ranges, etags
    assert get(web.url(PATH))[0] == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("fault", [statuses(503, 503), statuses(429), cuts(1), cuts(1, 2, after=0)])
def test_what_passes_is_tried_again(web: WebFolder, fault: Any, ranges: bool) -> None:
    web.ranges, web.faults[PATH] = ranges, fault
    assert get(web.url(PATH))[0] == CONTENT


def test_a_later_range_that_fails_is_tried_again_alone(web: WebFolder) -> None:
    web.faults[PATH] = cuts(3, 4)
    assert get(web.url(PATH))[0] == CONTENT
    assert len(web.asked) == 7


def test_what_does_not_pass_is_given_up(web: WebFolder) -> None:
    web.faults[PATH] = statuses(*[503] * 100)
    error = error_of(web.url(PATH))
    assert isinstance(error, SourceUnavailable)
    assert (error.exit_code, error.transient) == (4, True)
    assert "503" in error.fact
    assert len(web.asked) > 1


@pytest.mark.parametrize(("code", "words"), [(403, "denied"), (401, "denied"), (404, "no such file"), (410, "no such file"), (418, "refused")])  # fmt: skip
def test_what_is_final_is_asked_once(web: WebFolder, code: int, words: str) -> None:
    web.faults[PATH] = statuses(*[code] * 9)
    error = error_of(web.url(PATH), 30)
    assert isinstance(error, SourceRefused)
    assert error.exit_code == 3
    assert words in error.fact
    assert len(web.asked) == 1


@pytest.mark.parametrize("etags", [True, False])
def test_a_file_that_is_changed_between_ranges_is_refused(web: WebFolder, etags: bool) -> None:
    web.etags = etags

    def change(_: Handler, number: int) -> bool:
        if number == 3:
            web.files[PATH] = CONTENT[:-1] + (b"" if not etags else b"?")
        return False

    web.faults[PATH] = change
    error = error_of(web.url(PATH), 20)
    assert isinstance(error, SourceChanged)
    assert (error.exit_code, error.transient) == (4, True)


def test_a_server_that_ignores_the_condition_is_seen_through(web: WebFolder) -> None:
    def change(handler: Handler, number: int) -> bool:
        if number > 1:
            del handler.headers["If-Match"]
            web.files[PATH] = CONTENT[:-1] + b"?"
        return False

    web.faults[PATH] = change
    assert isinstance(error_of(web.url(PATH), 20), SourceChanged)


@pytest.mark.parametrize(
    ("headers", "length"),
    [({"Content-Range": "bytes 0-99999/*"}, None), ({"Content-Range": "nonsense"}, None)],
)  # fmt: skip
def test_a_size_that_is_not_told_is_refused(web: WebFolder, headers: dict[str, str], length: int | None) -> None:
    web.faults[PATH] = lambda handler, _: handler.answer(206, CONTENT[:100_000], headers, length) or True
    assert "how long" in error_of(web.url(PATH)).fact


def test_an_answer_without_length_is_refused_and_one_in_chunks_is_not(web: WebFolder) -> None:
    def unknown(handler: Handler, _: int) -> bool:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(CONTENT)
        return True

    def chunked(handler: Handler, number: int) -> bool:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(CONTENT), CONTENT) + (b"0\r\n\r\n" if number > 1 else b""))
        handler.close_connection = True
        return True

    web.faults[PATH] = unknown
    assert "how long" in error_of(web.url(PATH)).fact
    web.faults[PATH] = chunked
    web.counts.clear()
    assert get(web.url(PATH))[0] == CONTENT
    assert web.counts[PATH] == 2


def test_an_empty_file_and_one_that_is_packed_are_refused(web: WebFolder) -> None:
    web.files["/none"] = b""
    assert "empty" in error_of(web.url("/none")).fact
    web.faults[PATH] = lambda handler, _: handler.answer(200, b"x", {"Content-Encoding": "gzip"}) or True
    assert "packs" in error_of(web.url(PATH)).fact


def test_limits_of_size_and_time(web: WebFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = error_of(web.url(PATH), source_bytes=449_999)
    assert isinstance(error, LimitExceeded)
    assert len(web.asked) == 1
    web.ranges, web.faults[PATH] = False, lambda handler, _: endless(handler)
    assert isinstance(error_of(web.url(PATH), source_bytes=300_000), LimitExceeded)
    held = threading.Event()
    web.faults[PATH] = lambda _, __: held.wait(60) or True
    try:
        assert isinstance(error_of(web.url(PATH), source_seconds=0.2), TimedOut)
        with pytest.raises(TimedOut, match="--timeout"):
            fetch_into(io.BytesIO(), Url(web.url(PATH)), FetchRules(Limits(), deadline=Deadline(0.2)))
        monkeypatch.setattr(web_client, "SILENCE_SECONDS", 0.2)
        assert "silent" in error_of(web.url(PATH), 0).fact
    finally:
        held.set()
    web.faults.clear()
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: SimpleNamespace(free=449_999))
    with pytest.raises(MachineError, match="free"):
        fetch_into(io.BytesIO(), Url(web.url(PATH)), FetchRules(Limits()), tmp_path)


def endless(handler: Handler) -> bool:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for _ in range(20):
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(CONTENT), CONTENT))
    return True


def test_redirects_are_followed_and_take_no_password_along(web: WebFolder) -> None:
    with web_server() as other:
        other.files["/x"] = CONTENT
        web.faults[PATH] = redirects(other.url("/x"))
        web.files["/same"], web.faults["/same"] = CONTENT, redirects(web.url("/there"))
        web.files["/there"] = CONTENT
        assert get(web.url(PATH).replace("//", "//me:pw@"))[0] == CONTENT
        assert "Authorization" not in other.headers["/x"]
        assert get(web.url("/same").replace("//", "//me:pw@"))[0] == CONTENT
        assert "Authorization" in web.headers["/there"]
    web.faults[PATH] = redirects(web.url(PATH))
    assert isinstance(error_of(web.url(PATH)), SourceRefused)
    web.faults[PATH] = redirects("ftp://localhost/x")
    assert "not safe" in error_of(web.url(PATH)).fact


def test_user_and_password_are_sent_and_not_shown(
    web: WebFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.password = "Basic bWU6cHctN0A="  # me:pw-7@
    assert get(web.url(PATH).replace("//", "//me:pw-7%40@"))[0] == CONTENT
    error = error_of(web.url(PATH).replace("//", "//me:wrong-pw@") + "?sig=geheim")
    assert "denied" in error.fact
    assert "wrong-pw" not in str(error)
    assert "geheim" not in str(error)
    (tmp_path / ".netrc").write_text("machine localhost login me password pw-7@")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get(web.url(PATH))[0] == CONTENT


def test_a_server_that_is_not_there(web: WebFolder) -> None:
    assert isinstance(error_of(web.url(PATH).replace(str(web.port), "1")), SourceUnavailable)
    assert "no such server" in error_of("http://no-such-host.invalid/x.xlsx", 30).fact


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = make_certificate(tmp_path / "c.pem")
    with web_server(certificate) as safe, web_server() as plain:
        safe.files[PATH] = CONTENT
        assert "not trusted" in error_of(safe.url(PATH), 30).fact
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert get(safe.url(PATH))[0] == CONTENT
        plain.files["/x"], safe.faults[PATH] = CONTENT, redirects(plain.url("/x"))
        assert "not safe" in error_of(safe.url(PATH)).fact


def test_put(web: WebFolder, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes(CONTENT)
    web.faults["/out/r.csv"] = statuses(503)
    upload(tmp_path / "r.csv", Url(web.url("/out/r.csv?sig=x")), 20)
    assert web.files["/out/r.csv"] == CONTENT
    web.faults["/out/r.csv"] = lambda handler, _: handler.answer(403, b"") or True
    with pytest.raises(SourceRefused, match="denied"):
        upload(tmp_path / "r.csv", Url(web.url("/out/r.csv")), 20)
