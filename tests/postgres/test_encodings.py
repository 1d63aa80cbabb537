"""Databases that are not UTF-8, and sessions that a role, a database, a variable or a DSN sets to another encoding."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from conftest import Database
from support.asking import held_session
from support.tables import column, contract, save

from importer import import_workbook
from importer.errors import DatabaseError, TargetRefused
from importer.ledger.history import list_runs
from importer.load import direct_copy
from importer.postgres.session import Session
from importer.settings import Dsn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Encoding -> texts that such a database holds, and texts that it does not.
CASES: dict[str, tuple[list[str], list[str]]] = {
    "LATIN1": (["é", "ÿ\x81"], ["日本", "€", "a😀", "e\u0301"]),
    "WIN1252": (["é", "€ “q”"], ["\x81", "日本", "x\x9dy", "ā"]),
    "EUC_JP": (["日本", "é", "ｶﾞ Ж"], ["€", "😀", "日本€"]),
    "SQL_ASCII": (["日本", "é €", "😀"], []),
}


@pytest.fixture(scope="module")
def encoded(server: Dsn) -> Iterator[Callable[[str], Database]]:
    """Databases of the server, by encoding; each is created when a test first asks for it."""
    made: dict[str, Database] = {}

    def database(encoding: str) -> Database:
        if encoding not in made:
            name = f"enc_{encoding.lower()}_{secrets.token_hex(3)}"
            _as_superuser(
                server,
                f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'",
            )
            dsn = _with(server, f"dbname={name}")
            made[encoding] = Database(dsn, "public", dsn)
        return made[encoding]

    yield database
    for db in made.values():
        _as_superuser(server, f"DROP DATABASE {db.dsn.text.rpartition('dbname=')[2]} WITH (FORCE)")


def _as_superuser(server: Dsn, *statements: str) -> None:
    with held_session(server, autocommit=True) as session:
        for sql in statements:
            session.run(sql)


def _with(dsn: Dsn, option: str) -> Dsn:
    return Dsn(f"{dsn.text}{'&' if '?' in dsn.text else '?'}{option}")


def _name() -> str:
    return f"t_{secrets.token_hex(4)}"


# ---- CELLS ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", CASES)
@pytest.mark.parametrize("existing", [False, True])
def test_texts_arrive_or_are_rejected(
    encoded: Callable[[str], Database], tmp_path: Path, encoding: str, existing: bool
) -> None:
    db, table = encoded(encoding), _name()
    held, refused = CASES[encoding]
    if existing:
        db.run(f"CREATE TABLE {table} (n bigint, text varchar(40) UNIQUE)")
    book = column(tmp_path / "t.xlsx", "text", [*held, *refused, "plain"])
    report = db.load(book, table=table)
    assert db.rows(f"select n, text from {table} order by n") == [
        (n, text) for n, text in enumerate([*held, *refused, "plain"], 2) if text not in refused
    ]
    told = report.to_dict()["rejects"]["by_rule"]
    first = len(held) + 2
    wanted = [
        {
            "key": "text|type-error",
            "column": "text",
            "rule": "type-error",
            "count": len(refused),
            "example": f"Sheet!B{first}",
        }
    ]
    assert told == (wanted if refused else [])
    assert db.load(book, table=table).outcome == "already-imported"


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP"])
def test_reject_names_encoding_and_character(encoded: Callable[[str], Database], tmp_path: Path, encoding: str) -> None:
    report = encoded(encoding).load(
        column(tmp_path / "t.xlsx", "text", ["x", "a€"]), table=_name(), rejects=tmp_path / "r.csv"
    )
    assert report.error_count == 1
    assert f"(encoding {encoding}) cannot hold" in (tmp_path / "r.csv").read_text()


@pytest.mark.parametrize(("encoding", "codec"), [("LATIN1", "latin-1"), ("WIN1252", "cp1252"), ("EUC_JP", None)])
def test_every_character_is_held_or_rejected(
    encoded: Callable[[str], Database], tmp_path: Path, encoding: str, codec: str | None
) -> None:
    """A hundred characters a cell would hide which one is refused: one a cell, of all planes."""
    codes = [
        *range(0xA0, 0x250),
        *range(0x2000, 0x2300),
        *range(0x3000, 0x3100),
        *range(0x4E00, 0x9FFF, 7),
        0xFFFD,
        0x10FFFD,
    ]
    texts = [f"<{chr(code)}>" for code in codes]
    db, table = encoded(encoding), _name()
    report = db.load(column(tmp_path / "t.xlsx", "text", texts), table=table)
    loaded = {text for (text,) in db.rows(f"select text from {table}")}
    if codec is not None:
        assert loaded == {text for text in texts if text.encode(codec, "ignore").decode(codec) == text}
    assert loaded <= set(texts)
    assert report.success_count == len(loaded) > 90
    assert report.success_count + report.error_count == len(texts)


def test_keys_and_upserts(encoded: Callable[[str], Database], tmp_path: Path) -> None:
    db, table = encoded("LATIN1"), _name()
    db.run(
        f"CREATE TABLE {table} (k text PRIMARY KEY, v text)", f"INSERT INTO {table} VALUES ('é', 'old'), ('ü', 'same')"
    )
    lines = [["k", "v"], ["é", "new ½"], ["ü", "same"], ["日", "x"], ["日", "y"], ["ñ", "€"]]
    report = db.load(save(tmp_path / "t.xlsx", *lines), table=table, mode="upsert")
    assert report.to_dict()["table_rows"] | {"refused": 0} == {
        "inserted": 0,
        "updated": 1,
        "unchanged": 1,
        "deleted": 0,
        "refused": 0,
    }
    assert report.error_count == 3
    assert sorted(db.rows(f"select k, v from {table}")) == [("é", "new ½"), ("ü", "same")]


@pytest.mark.parametrize("method", ["batch", "concurrent", "sequential"])
def test_every_method(encoded: Callable[[str], Database], tmp_path: Path, method: str) -> None:
    db, table = encoded("LATIN1"), _name()
    db.load(column(tmp_path / "t.xlsx", "text", ["é", "€", "ß"]), table=table, method=method)
    assert db.rows(f"select n, text from {table} order by n") == [(2, "é"), (4, "ß")]


def test_large_sheets(encoded: Callable[[str], Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamed, and copied straight into the table."""
    monkeypatch.setattr(direct_copy, "DIRECT_BYTES", 1)
    db, table = encoded("LATIN1"), _name()
    db.run(f"CREATE TABLE {table} (n bigint, text text)")
    texts = ["é", "日", *[f"Zeile ß {n}" for n in range(500)], "€"]
    report = db.load(column(tmp_path / "t.xlsx", "text", texts), table=table, chunk_rows=100)
    assert (report.success_count, report.error_count) == (501, 2)
    assert db.rows(f"select count(*), count(*) filter (where text like '%ß%'), sum(length(text)) from {table}") == [
        (501, 500, 1 + sum(len(t) for t in texts[2:-1]))
    ]


def test_lengths_count_bytes_where_the_server_does(encoded: Callable[[str], Database], tmp_path: Path) -> None:
    """Without an encoding a character is a byte, so `varchar(4)` takes two letters with accents."""
    db, table = encoded("SQL_ASCII"), _name()
    db.run(f"CREATE TABLE {table} (n bigint, text varchar(4))")
    report = db.load(column(tmp_path / "t.xlsx", "text", ["éé", "ééa", "abcd"]), table=table)
    assert report.to_dict()["rejects"]["by_rule"][0]["key"] == "text|type-error"
    assert db.rows(f"select n, text from {table} order by n") == [(2, "éé"), (4, "abcd")]


@pytest.mark.parametrize("existing", [False, True])
def test_json_escapes(encoded: Callable[[str], Database], tmp_path: Path, existing: bool) -> None:
    r"""jsonb stores the character that `\u65e5` means, so the database must be able to hold that one, too."""
    db, table = encoded("LATIN1"), _name()
    if existing:
        db.run(f"CREATE TABLE {table} (n bigint, j jsonb)")
    fields = [{"name": "n", "type": "integer"}, {"name": "j", "type": "object"}]
    cells = [
        r'{"a": "\u00e9"}',
        r'{"a": "\u65e5"}',
        '{"a": "日"}',
        '{"b": 1}',
        r'{"\ud83d\ude00": 1}',
        r'{"a": "\\u65e5"}',
    ]
    report = db.load(
        column(tmp_path / "t.xlsx", "j", cells), table=table, contract=contract(tmp_path / "c.json", fields=fields)
    )
    assert report.error_count == 3
    assert db.rows(f"select n, j::text from {table} order by n") == [
        (2, '{"a": "é"}'),
        (5, '{"b": 1}'),
        (7, r'{"a": "\\u65e5"}'),
    ]


# ---- NAMES AND THE LEDGER ---------------------------------------------------------------------------------------


def test_file_and_sheet_names_do_not_matter(encoded: Callable[[str], Database], tmp_path: Path) -> None:
    """The ledger keeps what the database cannot hold as an escape."""
    db, table = encoded("LATIN1"), _name()
    book = save(tmp_path / "données 日本.xlsx", ["n", "text"], [1, "é"], sheet="表ü")
    assert db.load(book, table=table, sheet="表ü").success_count == 1
    assert db.load(book, table=table, sheet="表ü").outcome == "already-imported"
    with Session(db.dsn) as session:
        run = next(run for run in list_runs(session) if run["target_table"] == table)
    assert (run["workbook"], run["sheet"]) == ("données \\u65e5\\u672c.xlsx", "\\u8868ü")


@pytest.mark.parametrize(
    ("header", "options", "named"),
    [
        ("名前", {}, "名前"),
        ("name", {"table": "客"}, "客"),
        ("name", {"table": "客.t"}, "客"),
        ("name", {"file": "顧客.xlsx"}, "顧客"),
    ],
)
def test_names_that_the_database_cannot_hold(
    encoded: Callable[[str], Database], tmp_path: Path, header: str, options: dict[str, Any], named: str
) -> None:
    options = {"table": _name(), **options}
    if "file" in options:
        del options["table"]
    book = save(tmp_path / options.pop("file", "t.xlsx"), [header, "b"], [1, "x"])
    with pytest.raises(TargetRefused, match=f"{named}.*encoding LATIN1"):
        encoded("LATIN1").load(book, **options)


def test_lineage_of_a_file_that_the_database_cannot_name(encoded: Callable[[str], Database], tmp_path: Path) -> None:
    book = save(tmp_path / "顧客.xlsx", ["a"], [1])
    with pytest.raises(TargetRefused, match="顧客.xlsx.*encoding LATIN1"):
        encoded("LATIN1").load(book, table=_name(), lineage=True)


def test_contract_that_the_database_cannot_hold(encoded: Callable[[str], Database], tmp_path: Path) -> None:
    """What only the server sees: its refusal says what to do."""
    fields = [{"name": "a", "type": "string", "constraints": {"enum": ["日", "x"]}}]
    rules = contract(tmp_path / "c.json", fields=fields, postgresql={"indexes": [["a"]]})
    report = encoded("LATIN1").load(save(tmp_path / "t.xlsx", ["a"], ["x"]), table=_name(), contract=rules)
    assert report.success_count == 1
    with Session(encoded("LATIN1").dsn) as session, pytest.raises(DatabaseError) as caught:
        session.query("select '日'")
    assert "UTF8" in str(caught.value.choice)


# ---- SESSIONS ---------------------------------------------------------------------------------------------------


@pytest.fixture
def odd_role(db: Database) -> Iterator[str]:
    """A role whose sessions want another encoding, and a type whose name that one cannot hold."""
    role = f"odd_{secrets.token_hex(3)}"
    db.run(
        f"CREATE ROLE {role} LOGIN SUPERUSER",
        f"ALTER ROLE {role} SET client_encoding = 'LATIN1'",
        f'CREATE TABLE "{db.schema}"."日本" (a int)',
    )
    yield role
    db.run(f"REASSIGN OWNED BY {role} TO CURRENT_USER", f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.mark.parametrize("how", ["role", "variable", "dsn", "options", "auto"])
def test_client_encoding_is_ours(
    db: Database, odd_role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    dsn = db.dsn
    if how == "role":
        dsn = _with(dsn, f"user={odd_role}")
    if how == "variable":
        monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    if how in {"dsn", "auto"}:
        dsn = _with(dsn, f"client_encoding={'EUC_JP' if how == 'dsn' else 'auto'}")
    if how == "options":
        dsn = Dsn(dsn.text.replace("options=-c", "options=-cclient_encoding%3DLATIN1%20-c"))
    table = f"{db.schema}.t"
    report = Database(dsn, db.schema, db.server).load(
        column(tmp_path / "t.xlsx", "text", ["日本 é", "😀"]), table=table, workers=2, chunk_rows=1
    )
    assert report.error_count == 0
    assert db.rows("select text from t order by n") == [("日本 é",), ("😀",)]


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize(
    "text", ["{dsn}", "{dsn}&", "host='{host}' port={port} user=postgres dbname=postgres client_encoding=LATIN1"]
)
def test_every_kind_of_session(db: Database, monkeypatch: pytest.MonkeyPatch, text: str, autocommit: bool) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "SJIS")
    server = urlsplit(db.server.text)
    options = {"host": server.hostname, "port": server.port or 5432, **dict(parse_qsl(server.query))}
    text = text.format(dsn=db.dsn.text, **options)
    with Session(Dsn(text), autocommit=autocommit) as session:
        names = ("client_encoding", "idle_in_transaction_session_timeout", "jit")
        ask = f"select {', '.join(f'current_setting({name!r})' for name in names)}"
        assert session.query(ask) == [("UTF8", "0", "off")]
        session.rollback() if not autocommit else None
        session.run("RESET ALL")
        assert session.query(ask)[0][0] == "UTF8"


def test_database_that_sets_another_client_encoding(encoded: Callable[[str], Database], tmp_path: Path) -> None:
    db, table = encoded("LATIN1"), _name()
    name = db.dsn.text.rpartition("dbname=")[2]
    db.run(f"ALTER DATABASE {name} SET client_encoding = 'SQL_ASCII'")
    report = db.load(column(tmp_path / "t.xlsx", "text", ["é", "€"]), table=table)
    assert (report.success_count, report.error_count) == (1, 1)
    assert db.rows(f"select text, octet_length(text) from {table}") == [("é", 1)]
    db.run(f"ALTER DATABASE {name} RESET client_encoding")


def test_name_that_is_not_utf8(server: Dsn, tmp_path: Path) -> None:
    """SQL_ASCII takes any bytes; a name in it hinders nobody but who asks for it, and then the name must change."""
    name = f"enc_{secrets.token_hex(3)}"
    _as_superuser(
        server,
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    dsn = _with(server, f"dbname={name}")
    try:
        with Session(dsn) as session:
            session.run(r"DO $$ BEGIN EXECUTE convert_from('create table public.\366 (a int)', 'SQL_ASCII'); END $$")
            session.commit()
        with Session(dsn) as session, pytest.raises(DatabaseError, match="22021") as caught:
            session.query("select relname::text from pg_class where relnamespace = 'public'::regnamespace")
        assert "not in UTF-8" in str(caught.value.choice)
        assert not caught.value.transient
        report = import_workbook(column(tmp_path / "t.xlsx", "text", ["a"]), to=dsn.text, table="other")
        assert report.success_count == 1
    finally:
        _as_superuser(server, f"DROP DATABASE {name} WITH (FORCE)")


def test_sessions_may_be_idle(db: Database, odd_role: str, tmp_path: Path) -> None:
    """A run waits in a transaction while it reads the workbook; a role that may not be idle for a millisecond loads, too."""
    db.run(f"ALTER ROLE {odd_role} SET idle_in_transaction_session_timeout = 1")
    book = column(tmp_path / "t.xlsx", "text", ["é", "x"])
    report = Database(_with(db.dsn, f"user={odd_role}"), db.schema, db.server).load(book, table=f"{db.schema}.t")
    assert report.success_count == 2


@pytest.mark.parametrize(
    "settings",
    [
        ("quote_all_identifiers = on", "standard_conforming_strings = off", "DateStyle = 'German'"),
        ("idle_session_timeout = 5000", "transaction_timeout = 5000", "idle_in_transaction_session_timeout = 5000"),
    ],
    ids=str,
)
def test_settings_of_a_role_change_nothing(
    db: Database, odd_role: str, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    """Neither what the catalog's texts look like to us, nor how long a session may wait."""
    known = {name for (name,) in db.rows("select name from pg_settings")}
    for setting in settings:
        if setting.partition(" ")[0] in known | {"DateStyle"}:
            db.run(f"ALTER ROLE {odd_role} SET {setting}")
    odd = Database(_with(db.dsn, f"user={odd_role}"), db.schema, db.server)
    for number in (1, 2):  # the second finds the ledger of the first
        assert (
            odd.load(column(tmp_path / f"{number}.xlsx", "text", [number]), table=f"{db.schema}.t").success_count == 1
        )
    assert db.rows("select count(*) from t") == [(2,)]
    with Session(odd.dsn) as session:
        waits = "select count(*) from pg_settings where name ~ '^(idle|transaction).*_timeout' and setting <> '0'"
        assert session.value(waits) == 0


def test_settings_of_a_role_decide_no_value(db: Database, odd_role: str, tmp_path: Path) -> None:
    """A null in a list stays one, and a range whose meaning depends on the role's date style is a reject."""
    for setting in ("array_nulls = off", "DateStyle = 'ISO, DMY'", "TimeZone = 'Asia/Kathmandu'"):
        db.run(f"ALTER ROLE {odd_role} SET {setting}")
    db.run("CREATE TABLE t (n int, names text[], days daterange, times tstzrange)")
    rows = [
        [1, "{a,NULL}", "[2024-02-01,2024-02-03)", "[2024-02-01 00:00Z,)"],
        [2, "{b}", "[01/02/2024,03/02/2024)", "[2024-02-01 00:00Z,)"],
        [3, "{c}", "[2024-02-01,2024-02-03)", "[2024-02-01 00:00,)"],
    ]
    odd = Database(_with(db.dsn, f"user={odd_role}"), db.schema, db.server)
    book = save(tmp_path / "t.xlsx", ["n", "names", "days", "times"], *rows)
    report = odd.load(book, table=f"{db.schema}.t")
    assert [rule["key"] for rule in report.to_dict()["rejects"]["by_rule"]] == ["days|type-error", "times|type-error"]
    loaded = "select n, names[2] is null, days::text, extract(epoch from lower(times))::bigint from t"
    assert db.rows(loaded) == [(1, True, "[2024-02-01,2024-02-03)", 1706745600)]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("default_transaction_read_only = on", "takes writes"),
        ("statement_timeout = 1", "PGOPTIONS"),
        ("search_path = pg_temp", "schema.table"),
    ],
)
def test_limits_of_a_role_are_told_with_a_way_out(
    db: Database, server: Dsn, odd_role: str, tmp_path: Path, setting: str, said: str
) -> None:
    db.run(f"ALTER ROLE {odd_role} SET {setting}")
    table = "u" if "search_path" in setting else f"{db.schema}.u"
    with pytest.raises(DatabaseError) as caught:
        import_workbook(
            column(tmp_path / "t.xlsx", "text", ["a"]), to=_with(server, f"user={odd_role}").text, table=table,
            retry_for=0, workers=0,
        )  # fmt: skip
    assert said in str(caught.value.choice)


def test_ledger_texts_that_fit_stay(db: Database, tmp_path: Path) -> None:
    book = save(tmp_path / "日本 \\u65e5.xlsx", ["a"], [1])
    db.load(book, table="t")
    with Session(db.dsn) as session:
        names = [run["workbook"] for run in list_runs(session) if run["target_schema"] == db.schema]
    assert names == ["日本 \\u65e5.xlsx"]
