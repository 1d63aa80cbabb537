"""Who may come in, what may be sent, which tables may be touched: the service is safe as it comes."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import httpx
import pytest
from excel import test_hostile as hostile
from support.commandline import MIB, importer
from support.serving import SECONDS, book, connected, disk, head, held, numbers, serving, short_folder, wait_for
from support.webserver import web_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Database
    from support.serving import Service

    from importer.settings import Dsn

TOKEN = "a-token-of-the-tests-0123"
GIB = 1 << 30


@pytest.fixture(scope="module")
def narrow(server: Dsn) -> Iterator[Service]:
    """A service that wants a token, and takes little."""
    arguments = [
        "--max-upload", "1", "--max-rows", "500", "--max-columns", "20", "--max-inflated", "8", "--timeout", "60", "--idle", "3",
        "--concurrency", "1", "--queue", "1", "--allow-tables", "narrow_*", "--allow-tables", "importer_test.*",
        "--allow-host", "tables.example",
    ]  # fmt: skip
    with short_folder() as folder, serving(server, folder, *arguments, token=TOKEN) as running:
        yield running
        running.sql("DROP TABLE IF EXISTS narrow_queue, narrow_old, narrow_rows")


@pytest.fixture
def strangers() -> Iterator[contextlib.ExitStack]:
    """Clients without a token, closed behind the test."""
    with contextlib.ExitStack() as stack:
        yield stack


# ---- TOKEN, ORIGIN, HOST ----------------------------------------------------------------------------------------


def test_token_is_needed(narrow: Service, strangers: contextlib.ExitStack) -> None:
    stranger = strangers.enter_context(httpx.Client(base_url=narrow.url, timeout=SECONDS, trust_env=False))
    for path in ("/runs", "/tables", "/about", "/contracts", "/runs/x/rejects.xlsx"):
        refused = stranger.get(path)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="importer"')
    assert stranger.post("/upload", files={"file": ("x.xlsx", numbers(1, 2))}).status_code == 401
    assert narrow.kept() == []
    for token in ("x", "wrong", TOKEN[:-1], TOKEN + "x", "ä"):
        assert stranger.get("/about", headers={"Authorization": f"Bearer {token}".encode()}).status_code == 401
    assert stranger.get("/about", params={"token": TOKEN}).status_code == 401
    assert narrow.client.get("/about").status_code == 200
    assert stranger.get("/health").json() == {"status": "healthy"}


def test_token_is_given_once_in_a_browser(narrow: Service, strangers: contextlib.ExitStack) -> None:
    browser = strangers.enter_context(httpx.Client(base_url=narrow.url, timeout=SECONDS, trust_env=False))
    assert browser.get("/session").json() == {"token_required": True, "signed_in": False}
    assert browser.post("/session", json={"token": "a guess that is wrong"}).status_code == 401
    signed = browser.post("/session", data={"token": TOKEN})
    assert signed.json() == {"token_required": True, "signed_in": True}
    cookie = signed.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in cookie
    assert browser.get("/about").status_code == 200
    value = browser.cookies["importer_session"]
    later = f"{int(value.partition('.')[0]) + 1}.{value.partition('.')[2]}"
    assert httpx.get(f"{narrow.url}/about", headers={"Cookie": f"importer_session={later}"}).status_code == 401
    browser.delete("/session")
    assert browser.get("/about").status_code == 401


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "a token is required to listen on 0.0.0.0"),
        (["--host", "::", "--token", "short"], "at least 16"),
        (["--folder", "/tmp/" + "x" * 90], "too many for sockets"),
    ],
)
def test_service_does_not_start_unsafe(arguments: list[str], words: str) -> None:
    ran = importer("serve", "--port", "0", *arguments)
    assert (ran.code, words in ran.err) == (2, True), ran.err


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_posts_of_other_sites_are_refused(service: Service, headers: dict[str, str]) -> None:
    files = {"file": ("crossed.xlsx", numbers(1, 2))}
    answer = service.client.post("/upload", files=files, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (403, "CrossSite")
    assert service.client.delete("/runs/x", headers=headers).status_code == 403


def test_posts_of_the_own_page_are_taken(service: Service) -> None:
    headers = {"Origin": service.url, "Sec-Fetch-Site": "same-origin"}
    assert service.client.post("/upload", headers=headers).status_code == 400  # no file, and no other objection


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "a@localhost"])
def test_unknown_hosts_are_refused(service: Service, host: str) -> None:
    """A page whose name was made to mean this machine calls us by that name."""
    assert service.client.get("/about", headers={"Host": host}).status_code == 421


def test_known_hosts_are_taken(service: Service, narrow: Service) -> None:
    for host in ("localhost", "LOCALHOST:8080", "127.0.0.1", "[::1]:80"):
        assert service.client.get("/about", headers={"Host": host}).status_code == 200
    assert narrow.client.get("/about", headers={"Host": "tables.example"}).status_code == 200


def test_answers_carry_headers(service: Service) -> None:
    for path in ("/health", "/docs", "/nothing", "/runs/x"):
        headers = service.client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
    assert service.client.get("/about").headers["cache-control"] == "no-store"


def test_static_files_are_those_of_the_page(service: Service) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd"):
        assert service.client.get(path).status_code == 404


# ---- SIZE AND TIME ----------------------------------------------------------------------------------------------


def test_two_gigabytes_are_refused_early(service: Service) -> None:
    """By their announced length, before they are sent; who sends them all the same fills neither memory nor disk."""
    memory, stored, kept = service.memory(), disk(service.folder), service.kept()
    boundary = b'--b\r\nContent-Disposition: form-data; name="file"; filename="big.xlsx"\r\n\r\nPK'
    lines = ["Content-Type: multipart/form-data; boundary=b", f"Content-Length: {2 * GIB}"]
    with connected(service) as connection:
        connection.sendall(head(service, "/upload", *lines) + boundary)
        # No more is sent before the answer is here.
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "TooLarge"
        sent, piece = 0, b"x" * MIB
        connection.settimeout(10)
        with contextlib.suppress(OSError):  # the service hangs up after a while
            while sent < 2 * GIB:
                connection.sendall(piece)
                sent += len(piece)
    # What it does not read the kernel holds; what it reads it throws away.
    assert service.memory() - memory < 16 * MIB
    assert disk(service.folder) - stored < MIB
    assert service.kept() == kept
    assert service.client.get("/health").status_code == 200


def test_unannounced_size_is_refused_when_it_is_passed(narrow: Service) -> None:
    def body() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="big.xlsx"\r\n\r\nPK'
        for _ in range(40):
            yield b"x" * MIB

    memory = narrow.memory()
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = narrow.client.post("/upload", content=body(), headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (413, "TooLarge")
    assert narrow.memory() - memory < 16 * MIB
    assert narrow.kept() == []


FORMS = {
    "many parts": (413, "".join(f'--b\r\nContent-Disposition: form-data; name="f{n}"\r\n\r\nx\r\n' for n in range(60))),
    "long header": (413, f'--b\r\nContent-Disposition: form-data; name="{"x" * 20_000}"\r\n\r\nx\r\n'),
    "many headers": (413, "--b\r\n" + "".join(f"X-{n}: y\r\n" for n in range(50)) + "\r\nx\r\n"),
    "two files": (
        400,
        '--b\r\nContent-Disposition: form-data; name="file"; filename="formed.xlsx"\r\n\r\nx\r\n' * 2 + "--b--\r\n",
    ),
    "no end": (400, '--b\r\nContent-Disposition: form-data; name="file"; filename="formed.xlsx"\r\n\r\nPK'),
    "no name": (400, '--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nPK\r\n--b--\r\n'),
    "nothing": (400, "x"),
}


@pytest.mark.parametrize("case", FORMS)
def test_forms_that_are_none(service: Service, case: str) -> None:
    status, body = FORMS[case]
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = service.client.post("/upload", content=body.encode(), headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
    assert not [name for name in service.kept() if "formed" in name]


def test_slow_senders_are_given_up_and_hold_up_nobody(narrow: Service) -> None:
    lines = [
        "Content-Type: multipart/form-data; boundary=b",
        "Content-Length: 100000",
        f"Authorization: Bearer {TOKEN}",
    ]
    with connected(narrow) as connection, connected(narrow) as silent:
        silent.sendall(b"POST /upl")
        connection.sendall(head(narrow, "/upload", *lines))
        connection.sendall(b'--b\r\nContent-Disposition: form-data; name="file"; filename="slow.xlsx"\r\n\r\nPK')
        wait_for(lambda: list((narrow.folder / "uploads").iterdir()))
        assert narrow.upload(numbers(1, 2), "narrow_beside.xlsx").status_code == 200
        assert connection.recv(65_536).startswith(b"HTTP/1.1 408 ")
    wait_for(lambda: list((narrow.folder / "uploads").iterdir()) == [])
    narrow.sql("DROP TABLE narrow_beside")


def test_senders_that_go_away_leave_nothing(service: Service) -> None:
    lines = ["Content-Type: multipart/form-data; boundary=b", "Content-Length: 100000"]
    before = set((service.folder / "uploads").iterdir())
    with connected(service) as connection:
        connection.sendall(head(service, "/upload", *lines))
        connection.sendall(
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="left.xlsx"\r\n\r\nPK' + b"x" * 9999
        )
        wait_for(lambda: set((service.folder / "uploads").iterdir()) - before)
    wait_for(lambda: set((service.folder / "uploads").iterdir()) <= before)


def test_large_heads_are_refused(service: Service) -> None:
    with connected(service) as connection:
        answer = b""
        try:
            for _ in range(40):
                connection.sendall(f"X: {'y' * 65_000}\r\n".encode() if answer else head(service, "/upload")[:-2])
                answer = b"sent"
        except OSError:
            return  # hung up already
        with_end = connection.recv(65_536)
        assert with_end == b"" or with_end.startswith(b"HTTP/1.1 400 ")


LIMITS: dict[str, tuple[bytes, int, str]] = {
    "rows": (numbers(1, 501), 422, "the sheet has more than 500 rows"),
    "columns": (book([f"c{n}" for n in range(21)], [1] * 21), 422, "the header has 21 columns, a table can have 20"),
}


@pytest.mark.parametrize("path", ["/inspect", "/check", "/upload"])
@pytest.mark.parametrize("case", LIMITS)
def test_limits_of_a_sheet(narrow: Service, case: str, path: str) -> None:
    content, status, words = LIMITS[case]
    answer = narrow.upload(content, "narrow_limit.xlsx", path)
    assert (answer.status_code, answer.json()["error"]) == (status, words)


def test_inflated_size_is_limited(narrow: Service, tmp_path: Path) -> None:
    path = hostile.write_rows(tmp_path / "narrow_blank.xlsx", hostile.GOOD + " " * (9 * MIB))
    answer = narrow.upload(path.read_bytes(), path.name)
    assert answer.status_code == 422, answer.text


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "far corners": hostile.beyond_last_row,
    "row number overflow": hostile.row_number_overflow,
    "entity bomb": hostile.bomb(hostile.SHEET, hostile.BOMB),
    "external entity": hostile.bomb(hostile.STRINGS, hostile.EXTERNAL),
    "lying size": hostile.lying_size(-10),
    "many sheets": hostile.many_sheets,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_cost_one_upload(service: Service, tmp_path: Path, case: str) -> None:
    content = HOSTILE[case](tmp_path / "doors.xlsx").read_bytes()
    memory = service.memory()
    answer = service.upload(content, "doors.xlsx", max_rejects=0)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]
    for secret in ("Traceback", str(service.folder), "/tmp", "postgresql://"):
        assert secret not in answer.text
    assert service.memory() - memory < 16 * MIB
    assert service.client.get("/health").status_code == 200
    assert service.rows("select to_regclass('doors')::text") == [(None,)]


CONTRACTS = {
    "surrogate": (b'{"fields": [{"name": "n", "title": "\\ud800"}]}', "json", 422),
    "NUL": (b'{"fields": [{"name": "n\\u0000"}]}', "json", 422),
    "nesting": (b'{"fields": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "json", 422),
    "aliases": (
        b"a0: &a0 [x, x]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12))
        + b"fields: [{name: n, type: any, constraints: {enum: *a11}}, {name: word}]\n",
        "yaml",
        422,
    ),
    "no object": (b"[]", "toml", 422),
    "no text": (b"\xff\xfe", "json", 422),
    "suffix": (b"{}", "exe", 400),
}


@pytest.mark.parametrize("case", CONTRACTS)
def test_hostile_contracts_cost_one_upload(service: Service, case: str) -> None:
    content, suffix, status = CONTRACTS[case]
    answer = service.upload(numbers(1, 2), "contracted.xlsx", contract=(f"c.{suffix}", content, "text/plain"))
    assert answer.status_code == status, answer.text
    assert "Traceback" not in answer.text
    assert str(service.folder) not in answer.text


# ---- QUEUE ------------------------------------------------------------------------------------------------------


def test_queue_is_bounded(narrow: Service) -> None:
    narrow.sql("CREATE TABLE IF NOT EXISTS narrow_queue (n bigint, word text)")
    with held(narrow.dsn, "narrow_queue"):
        first, second = (
            narrow.upload(numbers(n, n), "q.xlsx", "/upload?wait=false", table="narrow_queue").json()["run"]
            for n in (1, 2)
        )
        assert (second["state"], second["queue_position"]) == ("queued", 1)
        third = narrow.upload(numbers(3, 3), "q.xlsx", "/upload?wait=false", table="narrow_queue")
        assert (third.status_code, third.json()["type"]) == (429, "QueueFull")
        assert int(third.headers["retry-after"]) > 0
        assert narrow.client.delete(f"/runs/{second['id']}").json()["run"]["state"] == "cancelled"
        assert len([name for name in narrow.kept() if name.endswith("q.xlsx")]) == 1
    narrow.until(first["id"], "done")
    assert narrow.rows("select n from narrow_queue") == [(1,)]


# ---- TABLES -----------------------------------------------------------------------------------------------------


def test_only_tables_that_the_service_created(service: Service, db: Database) -> None:
    db.run(f"CREATE TABLE {db.schema}.theirs (n bigint, word text)")
    for mode in ("append", "replace"):
        refused = service.upload(numbers(1, 2), table=f"{db.schema}.theirs", mode=mode)
        assert (refused.status_code, refused.json()["type"]) == (403, "NotAllowed")
    assert db.rows(f"select count(*) from {db.schema}.theirs") == [(0,)]
    assert service.upload(numbers(1, 2), table=f"{db.schema}.ours").status_code == 200
    assert service.upload(numbers(3, 4), table=f"{db.schema}.ours").status_code == 200
    listed = {t["table"]: t["created_here"] for t in service.json("/tables")["tables"]}
    assert listed[f"{db.schema}.ours"] is True
    assert f"{db.schema}.theirs" not in listed
    # A table that took the name of ours is not ours.
    db.run(f"DROP TABLE {db.schema}.ours", f"CREATE TABLE {db.schema}.ours (n bigint, word text)")
    assert service.upload(numbers(5, 6), table=f"{db.schema}.ours").status_code == 403
    references = {
        "fields": [{"name": "n", "type": "integer"}, {"name": "word"}],
        "foreignKeys": [{"fields": ["n"], "reference": {"resource": f"{db.schema}.theirs", "fields": ["n"]}}],
    }
    spying = service.upload(numbers(1, 2), table=f"{db.schema}.spy", contract=json.dumps(references))
    assert spying.status_code == 403, spying.text


def test_only_tables_that_match_a_pattern(narrow: Service) -> None:
    narrow.sql("CREATE TABLE IF NOT EXISTS narrow_old (n bigint, word text)")
    assert narrow.upload(numbers(1, 2), table="narrow_old").status_code == 200
    refused = narrow.upload(numbers(1, 2), table="wide")
    assert (refused.status_code, refused.json()["choice"]) == (
        403,
        "use a table that matches narrow_* or importer_test.*",
    )
    assert narrow.json("/about")["allow_tables"] == ["narrow_*", "importer_test.*"]
    assert all(t["name"].startswith("narrow_") for t in narrow.json("/tables")["tables"])


# ---- WORDS ------------------------------------------------------------------------------------------------------


def test_no_address_of_a_caller_is_fetched(service: Service) -> None:
    """What a command line would fetch is no contract, no upload and the mere name of a file to the service."""
    with web_server() as web:
        web.files["/c.json"], web.files["/x.xlsx"] = b'{"fields": [{"name": "n", "type": "any"}]}', numbers(1, 2)
        contract, source = web.url("/c.json"), web.url("/x.xlsx")
        sent = {"file": (source, numbers(1, 2))}
        for path, options, files in (
            ("/upload", {"contract": contract}, sent), ("/check", {"contract": contract}, sent),
            ("/upload", {"upload": source}, None), ("/inspect", {"upload": source}, None),
            ("/upload", {"rejects": web.url("/r.csv")}, sent), ("/upload", {"workbook": source}, None),
            ("/upload", {"source": source}, None),
        ):  # fmt: skip
            answer = service.client.post(path, params={"table": "of_an_address", **options}, files=files)
            assert 400 <= answer.status_code < 500, (options, answer.text)
        named = service.client.post("/inspect", files=sent)
        assert (named.status_code, web.asked) == (200, [])


def test_messages_hold_no_values_and_no_server(service: Service) -> None:
    service.upload(numbers(1, 2), "worded.xlsx")
    service.sql(
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the secret is %', (SELECT current_setting('port')); END $$",
        "CREATE TRIGGER shout BEFORE INSERT ON worded FOR EACH STATEMENT EXECUTE FUNCTION shout()",
    )
    answer = service.upload(numbers(3, 4), "worded.xlsx")
    assert answer.status_code in {200, 422}
    assert "secret" not in json.dumps({k: v for k, v in answer.json().items() if k != "rejects"}), answer.text


def test_health_is_503_when_the_database_is_gone(server: Dsn) -> None:
    from importer.settings import Dsn as Named

    query = dict(pair.split("=", 1) for pair in server.text.partition("?")[2].split("&"))
    with short_folder() as folder, short_folder() as place:
        name = f".s.PGSQL.{query.get('port', '5432')}"
        link = place / name
        link.symlink_to(f"{query['host']}/{name}")
        dsn = Named(server.text.replace(query["host"], str(place)))
        with serving(dsn, folder, token=TOKEN) as own:
            assert own.client.get("/health").json() == {"status": "healthy"}
            link.rename(place / "away")
            wait_for(lambda: own.client.get("/health").status_code == 503)
            sick = own.client.get("/health")
            assert (sick.json()["status"], sick.json()["error"]) == ("unhealthy", "the database cannot be reached")
            refused = own.client.get("/tables")
            assert (refused.status_code, refused.json()["type"]) == (503, "ConnectionFailed")
            assert str(place) not in refused.text + sick.text
            (place / "away").rename(link)
            wait_for(lambda: own.client.get("/health").status_code == 200)


def test_port_in_use_is_told(service: Service) -> None:
    with short_folder() as folder:
        ran = importer("serve", "--port", service.port, "--to", service.dsn.text, "--folder", folder)
    assert (ran.code, "cannot listen on 127.0.0.1" in ran.err) == (4, True), ran.err
    assert service.client.get("/health").status_code == 200


def test_folder_has_one_service(service: Service) -> None:
    ran = importer("serve", "--port", "0", "--to", service.dsn.text, "--folder", service.folder)
    assert (ran.code, "another service uses the folder" in ran.err) == (2, True), ran.err
