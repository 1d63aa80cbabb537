"""Checksums: the same numbers from what was read and from what PostgreSQL holds, and others when a value changes."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from importer.postgres.session import Session
from importer.postgres.sql import literal
from importer.postgres.types import WIRE_TYPES, parse_type, wire_type_of
from importer.verification.checksum_frame import source_checksums
from importer.verification.checksum_sql import LONG_TEXT_BYTES, TEXTS, TextHash, add, find_text_hash, sql_checksums

if TYPE_CHECKING:
    from conftest import Database

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


def _source(*columns: pl.Series, text_hash: TextHash = "hashtext") -> dict[str, tuple[int, ...]]:
    return source_checksums(pl.DataFrame([column.alias(f"c{n}") for n, column in enumerate(columns)]), text_hash)


def _sql(
    session: Session, types: list[str], rows: list[list[str]], text_hash: TextHash = "hashtext", *, long: bool = False
) -> dict[str, tuple[int, ...]]:
    """What the server says of a table with these rows, whose values are spelled in SQL."""
    names = [f"c{n}" for n in range(len(types))]
    asked = sql_checksums({name: (name, t) for name, t in zip(names, types, strict=True)}, text_hash, long_texts=long)
    typed = ["(" + ", ".join(f"{v}::{t}" for v, t in zip(row, types, strict=True)) + ")" for row in rows]
    none = "(" + ", ".join(f"null::{t}" for t in types) + ")"
    expressions = [e for parts in asked.values() for e in parts]
    table = f"(values {', '.join([none, *typed])}) v({', '.join(names)})"
    found = iter(session.query(f"select {', '.join(expressions)} from (select * from {table} offset 1) v")[0])
    return {name: tuple(int(next(found)) for _ in parts) for name, parts in asked.items()}


def _spelled(value: str | None) -> str:
    return "null" if value is None else literal(value)


def test_texts_hash_as_the_server_does(db: Database) -> None:
    """Every length up to 40 bytes, at every offset of a word."""
    values = ["", *("aé😀b\n"[n % 5] * (n // 2) + "x" * (n % 13) for n in range(120)), "y" * LONG_TEXT_BYTES]
    with Session(db.dsn) as session:
        for text_hash in {"hashtext", find_text_hash(session)}:
            for value in values:
                read = _source(pl.Series([value]), text_hash=text_hash)
                assert read == _sql(session, ["text"], [[literal(value)]], text_hash), value
            read = _source(pl.Series(values), text_hash=text_hash)
            assert read == _sql(session, ["text"], [[literal(v)] for v in values], text_hash)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(*[st.sampled_from("aé😀") for _ in range(2)], st.integers(-9, 9), st.integers(0, LONG_TEXT_BYTES)),
        min_size=1,
        max_size=6,
    )
)
def test_rows_around_the_border_of_long_texts(db: Database, rows: list[tuple[str, str, int, int]]) -> None:
    """Rows on both sides of the border, measured in bytes of all texts without separators, which only we write."""
    pairs = []
    for first, second, over, part in rows:
        left = first * (part // len(first.encode()))
        room = max(LONG_TEXT_BYTES + over - len(left.encode()), 0)
        pairs.append((left, second * (room // len(second.encode())) + "." * (room % len(second.encode()))))
    read = _source(*(pl.Series([pair[n] for pair in pairs]) for n in range(2)))
    long = len(read[TEXTS]) > 1
    assert long == any(len("".join(pair).encode()) > LONG_TEXT_BYTES for pair in pairs)
    with Session(db.dsn) as session:
        assert read == _sql(session, ["text", "text"], [list(map(literal, pair)) for pair in pairs], long=long)


def test_texts_of_millions_are_hashed_without_a_step_for_every_few_bytes(db: Database) -> None:
    texts = ["short", "x" * 5_000_000, "y" * 4_999_999 + "z"]
    sums = [_source(pl.Series([text])) for text in texts]
    with Session(db.dsn) as session:
        held = _sql(session, ["text"], [["repeat('x', 5000000)"]], long=True)
        assert held == {**sums[1], TEXTS: add(sums[1][TEXTS], (0,))}
        asked = [["'short'"], ["repeat('x', 5000000)"], ["repeat('y', 4999999) || 'z'"]]
        assert _sql(session, ["text"], asked, long=True) == _source(pl.Series(texts))
    assert _source(pl.Series(texts))[TEXTS] == add(add(sums[0][TEXTS], sums[1][TEXTS]), sums[2][TEXTS])
    assert len({each[TEXTS] for each in sums}) == len(texts)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.none() | texts, st.none() | texts, st.integers(0, 9)), max_size=30))
def test_random_texts(db: Database, rows: list[tuple[str | None, str | None, int]]) -> None:
    columns = [
        pl.Series([row[n] for row in rows], dtype=dtype) for n, dtype in enumerate((pl.String, pl.String, pl.Int64))
    ]
    spelled = [[_spelled(first), _spelled(second), str(number)] for first, second, number in rows]
    with Session(db.dsn) as session:
        for text_hash in {"hashtext", find_text_hash(session)}:
            held = _sql(session, ["text", "text", "bigint"], spelled, text_hash)
            assert _source(*columns, text_hash=text_hash) == held


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=30))
def test_random_floats(db: Database, values: list[float | None]) -> None:
    with Session(db.dsn) as session:
        shown = [["null" if v is None else f"'{v!r}'"] for v in values]
        assert _source(pl.Series(values, dtype=pl.Float64)) == _sql(session, ["double precision"], shown)


def test_columns_of_many_floats(db: Database) -> None:
    """More than are hashed at once, in two columns."""
    numbers = [None if n % 13 == 0 else 0.0 if n % 11 == 0 else n / 7 for n in range(1, 20_001)]
    asked = "sum(hashfloat8(case when n % 11 = 0 then 0 else n / 7::float8 end)::bigint) filter (where n % 13 <> 0)"
    with Session(db.dsn) as session:
        (total,) = session.query(f"select ({asked})::int8 from generate_series(1, 20000) n")[0]
    read = _source(pl.Series(numbers), pl.Series([-1.5]).extend_constant(None, 19_999))
    assert read["c0"] == (20_000 - 20_000 // 13, total)
    assert read["c1"] == _source(pl.Series([-1.5]))["c0"]


VALUES: list[tuple[str, list[Any]]] = [
    ("boolean", [True, False, None]), ("smallint", [-(2**15), 2**15 - 1, None]), ("integer", [-(2**31), 2**31 - 1]),
        ("bigint", [-(2**63), 2**63 - 1, 2**63 - 1, None]),
    ("real", [0.1, -0.0, 0.0, 3.4e38, None]), ("double precision", [0.1, -0.0, 1e308, 5e-324]), ("date",
        [date(1, 1, 1), date(1999, 12, 31), date(9999, 12, 31), None]),
    ("time", [time(0), time(23, 59, 59, 999999), None]), ("timestamp", [datetime(1, 1, 1),
        datetime(9999, 12, 31, 23, 59, 59, 999999), None]),
    ("timestamptz", [datetime(1900, 1, 1), datetime(2020, 1, 1, 0, 0, 0, 1)]), ("interval",
        [timedelta(days=-9999, microseconds=1), timedelta(hours=30), None]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values"), VALUES, ids=[name for name, _ in VALUES])
def test_every_wire_type(db: Database, name: str, values: list[Any]) -> None:
    pg_type = parse_type(name)
    assert pg_type is not None
    series = pl.Series(values, dtype=wire_type_of(pg_type).frame)

    def spell(value: Any) -> str:
        if isinstance(value, timedelta):
            return f"make_interval(secs => {value // timedelta(microseconds=1)}::numeric / 1000000)"
        return (
            f"'{value.isoformat() + ('Z' if name == 'timestamptz' else '')}'"
            if isinstance(value, datetime)
            else f"'{value}'"
        )

    shown = [["null" if v is None else spell(v)] for v in values]
    with Session(db.dsn) as session:
        assert _source(series) == _sql(session, [str(pg_type)], shown)
        nothing = _source(series.clear())
        assert nothing == _sql(session, [str(pg_type)], [])
        assert {n for numbers in nothing.values() for n in numbers} == {0}


def test_all_wires_are_covered() -> None:
    assert {str(parse_type(name)) for name, _ in VALUES} == set(WIRE_TYPES)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["ab", "c"], ["ac", "b"]),
        (["a", None], [None, None]),
        ([0.1, 0.2], [0.1, 0.20000000000000004]),
        ([1, 2], [1, 3]),
    ],
)
def test_another_value_is_another_checksum(first: list[Any], second: list[Any]) -> None:
    assert _source(pl.Series(first)) != _source(pl.Series(second, dtype=pl.Series(first).dtype))


def test_texts_that_change_places_are_another_checksum() -> None:
    first, second = pl.Series(["a", "b"]), pl.Series(["c", "d"])
    assert _source(first, second) != _source(first.reverse(), second)
    assert _source(first, second) != _source(second, first)
    assert _source(first, second)[TEXTS] == _source(first.reverse(), second.reverse())[TEXTS]


@given(st.lists(texts, max_size=20), st.lists(texts, max_size=20))
def test_checksums_add_up_in_any_order(first: list[str], second: list[str]) -> None:
    one, two = (_source(pl.Series(v, dtype=pl.String)) for v in (first, second))
    both = _source(pl.Series([*second, *first], dtype=pl.String))
    assert {key: add(add(None, one[key]), two[key]) for key in both} == both


def test_slices_and_batches_hash_alike() -> None:
    values = pl.Series([f"row {n} {'é' * (n % 50)}" for n in range(40_000)])
    parts = [_source(values[start : start + 7_777]) for start in range(0, len(values), 7_777)]
    total: dict[str, tuple[int, ...]] = {}
    for part in parts:
        total = {key: add(total.get(key), numbers) for key, numbers in part.items()}
    assert total == _source(values)
