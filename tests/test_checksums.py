"""Checksums: the same numbers from what was read and from what PostgreSQL holds, and others when a value changes."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from importer.checksums import add, sql_checksum
from importer.hashes import source_checksum
from importer.pgtypes import WIRES, parse_type, wire_of
from importer.postgres import Session, literal

if TYPE_CHECKING:
    from conftest import Database

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


def _sql(session: Session, staging_type: str, values: list[str]) -> tuple[int, ...]:
    rows = ", ".join(f"({v}::{staging_type})" for v in values) or f"(null::{staging_type})"
    return tuple(
        int(n)
        for n in session.query(f"select {', '.join(sql_checksum('x', staging_type))} from (values {rows}) v(x)")[0]
    )


def test_texts_hash_as_hashtext_does(db: Database) -> None:
    """Every length up to 40 bytes, at every offset of a word."""
    values = ["", *("aé😀b\n"[n % 5] * (n // 2) + "x" * (n % 13) for n in range(120)), "y" * 100_000]
    with Session(db.dsn) as session:
        for value in values:
            assert source_checksum(pl.Series([value])) == _sql(session, "text", [literal(value)]), value
        assert source_checksum(pl.Series(values)) == _sql(session, "text", [literal(v) for v in values])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.none() | texts, max_size=30))
def test_random_texts(db: Database, values: list[str | None]) -> None:
    with Session(db.dsn) as session:
        assert source_checksum(pl.Series(values, dtype=pl.String)) == _sql(
            session, "text", ["null" if v is None else literal(v) for v in values]
        )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=30))
def test_random_floats(db: Database, values: list[float | None]) -> None:
    with Session(db.dsn) as session:
        shown = ["null" if v is None else f"'{v!r}'" for v in values]
        assert source_checksum(pl.Series(values, dtype=pl.Float64)) == _sql(session, "double precision", shown)


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
    series = pl.Series(values, dtype=wire_of(pg_type).frame)

    def spell(value: Any) -> str:
        if isinstance(value, timedelta):
            return f"make_interval(secs => {value // timedelta(microseconds=1)}::numeric / 1000000)"
        return (
            f"'{value.isoformat() + ('Z' if name == 'timestamptz' else '')}'"
            if isinstance(value, datetime)
            else f"'{value}'"
        )

    shown = ["null" if v is None else spell(v) for v in values]
    with Session(db.dsn) as session:
        assert source_checksum(series) == _sql(session, str(pg_type), shown)
        assert source_checksum(series.clear()) == _sql(session, str(pg_type), []) == (0,) * len(source_checksum(series))


def test_all_wires_are_covered() -> None:
    assert {str(parse_type(name)) for name, _ in VALUES} == set(WIRES)


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
    assert source_checksum(pl.Series(first)) != source_checksum(pl.Series(second, dtype=pl.Series(first).dtype))


@given(st.lists(texts, max_size=20), st.lists(texts, max_size=20))
def test_checksums_add_up_in_any_order(first: list[str], second: list[str]) -> None:
    one, two = (source_checksum(pl.Series(v, dtype=pl.String)) for v in (first, second))
    assert add(add(None, one), two) == source_checksum(pl.Series([*second, *first], dtype=pl.String))


def test_slices_and_batches_hash_alike() -> None:
    values = pl.Series([f"row {n} {'é' * (n % 50)}" for n in range(40_000)])
    parts = [source_checksum(values[start : start + 7_777]) for start in range(0, len(values), 7_777)]
    total = None
    for part in parts:
        total = add(total, part)
    assert total == source_checksum(values)
