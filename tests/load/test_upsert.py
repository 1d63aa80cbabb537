"""Upsert: against a plain-Python model, with every kind of table that has an opinion about it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook
from support.tables import contract, save

from importer.errors import ContractError, TargetRefused, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database


def _errors(path: Path) -> dict[int, str]:
    book = load_workbook(path)
    rows = list(book.active.iter_rows(values_only=True))  # type: ignore[union-attr]
    return {row[0]: row[1] for row in rows[1:]}


def _moved(report: Any) -> tuple[int, int, int]:
    moved = report.table_rows
    return moved["inserted"], moved["updated"], moved["unchanged"]


# ---- THE MODEL --------------------------------------------------------------------------------------------------

KEYS = st.one_of(st.none(), st.tuples(st.sampled_from(["a", "B", "b "]), st.integers(1, 3)))
VALUES = st.tuples(
    st.sampled_from([None, "x", "X", "y"]), st.sampled_from([None, 1, 2.5, -3]), st.sampled_from([None, True, False])
)
ROWS = st.lists(st.tuples(KEYS, VALUES), max_size=12)


def _model(
    table: dict[Any, Any], rows: list[Any], on_duplicate: str
) -> tuple[dict[Any, Any], tuple[int, int, int], set[int], set[int]]:
    """The table after the upsert, (inserted, updated, unchanged), the rejected rows and those left out."""
    after, chosen, rejected, left_out = dict(table), {}, set(), set()
    for row, (key, _) in enumerate(rows, 2):
        if key is None:
            rejected.add(row)
        elif key not in chosen:
            chosen[key] = row
        elif on_duplicate == "reject":
            rejected.add(row)
        elif on_duplicate == "first":
            left_out.add(row)
        else:
            left_out.add(chosen[key])
            chosen[key] = row
    counts = [0, 0, 0]
    for key, row in chosen.items():
        values = rows[row - 2][1]
        if values[1] == -3:
            # The table refuses it; that is found when the keys of the sheet are settled.
            rejected.add(row)
            continue
        counts[2 if table.get(key) == values else 1 if key in table else 0] += 1
        after[key] = values
    return after, (counts[0], counts[1], counts[2]), rejected, left_out


def _table(db: Database) -> dict[Any, Any]:
    return {(a, b): (s, n, t) for a, b, s, n, t in db.rows("select a, b, s, n::float8, t from t")}


def _versions(db: Database) -> dict[Any, str]:
    return {(a, b): version for a, b, version in db.rows("select a, b, xmin::text || ctid::text from t")}


@pytest.mark.parametrize("on_duplicate", ["reject", "first", "last"])
def test_upsert_is_what_the_model_says(db: Database, tmp_path: Path, on_duplicate: Any) -> None:
    db.run(
        "create table t (a text, b int, s text, n numeric check (n <> -3), t boolean, "
        "made int default 7, written int default 0, unique (a, b))"
    )
    path = tmp_path / "t.xlsx"

    # Shrinking would take minutes, with a database in the loop.
    @settings(max_examples=settings().max_examples // 16, phases=[Phase.generate])
    @given(ROWS, ROWS)
    def holds(old: list[Any], new: list[Any]) -> None:
        db.run("truncate t")
        model: dict[Any, Any] = {}
        for rows in (old, new):
            before = _versions(db)
            save(path, ["a", "b", "s", "n", "t"], *[[*(key or (None, 1)), *values] for key, values in rows])
            # No type is guessed from a sheet that may be empty: the table is the contract.
            report = db.load(
                path, mode="upsert", key=["a", "b"], on_duplicate=on_duplicate, workers=0, again=True, chunk_rows=4
            )
            known = dict(model)
            model, counts, rejected, left_out = _model(model, rows, on_duplicate)
            assert _table(db) == model
            assert _moved(report) == counts
            assert report.rows["superseded"] == len(left_out)
            assert report.error_count == len(rejected)
            assert not rejected or set(_errors(path.with_suffix(".rejects.xlsx"))) == rejected
            assert all(c.count.balanced for c in report.columns)
            # A row that is unchanged was not written again.
            after = _versions(db)
            for key, values in known.items():
                assert (before[key] == after[key]) == (model[key] == values)

    holds()


# ---- KEYS -------------------------------------------------------------------------------------------------------


def test_new_table_gets_the_key(db: Database, tmp_path: Path) -> None:
    path = save(tmp_path / "t.xlsx", ["E-Mail", "name"], ["a@x", "a"], [None, "none"], ["b@x", "b"])
    report = db.load(path, mode="upsert", key=["E-Mail"])
    assert _moved(report) == (2, 0, 0)
    assert list(_errors(path.with_suffix(".rejects.xlsx"))) == [3]
    assert db.rows(
        "select pg_get_constraintdef(oid) from pg_constraint where conrelid = 't'::regclass and contype = 'p'"
    ) == [("PRIMARY KEY (e_mail)",)]
    save(path, ["E-Mail", "name"], ["b@x", "B"], ["c@x", "c"], ["a@x", "a"])
    assert _moved(db.load(path, mode="upsert")) == (1, 1, 1)
    assert db.rows("select * from t order by 1") == [("a@x", "a"), ("b@x", "B"), ("c@x", "c")]


def test_key_beside_the_primary_key(db: Database, tmp_path: Path) -> None:
    described = contract(
        tmp_path / "c.json", fields=[{"name": "id", "type": "integer"}, {"name": "mail"}], primaryKey="id"
    )
    path = save(tmp_path / "t.xlsx", ["id", "mail"], [1, "a"], [2, "b"])
    db.load(path, mode="upsert", contract=described, key=["mail"])
    save(path, ["id", "mail"], [7, "b"], [1, "c"])
    report = db.load(path, mode="upsert", contract=described, key=["mail"])
    assert _moved(report) == (0, 1, 0)
    assert db.rows("select * from t order by 1") == [(1, "a"), (7, "b")]
    assert _errors(path.with_suffix(".rejects.xlsx"))[3].startswith("A3 database-error")


@pytest.mark.parametrize(
    ("made", "key", "error", "said"),
    [
        ("create table t (id int, n int)", None, UsageError, "needs a key"),
        ("create table t (id int, n int)", ["id"], TargetRefused, "CREATE UNIQUE INDEX ON"),
        ("create table t (id int unique deferrable, n int)", ["id"], TargetRefused, "no unique index"),
        (
            "create table t (id int, n int); create unique index on t (id) where n > 0",
            ["id"],
            TargetRefused,
            "no unique index",
        ),
        ("create table t (id int primary key, n int)", ["id", "n"], TargetRefused, "no unique index"),
        ("create table t (id int primary key, n int)", ["nope"], ContractError, "'nope' is not loaded"),
    ],
)
def test_no_key(db: Database, tmp_path: Path, made: str, key: Any, error: Any, said: str) -> None:
    db.run(*made.split("; "))
    with pytest.raises(error) as caught:
        db.load(save(tmp_path / "t.xlsx", ["id", "n"], [1, 1]), mode="upsert", key=key)
    assert said in str(caught.value)
    assert db.leftovers() == []


def test_key_without_upsert(tmp_path: Path) -> None:
    from importer import import_workbook

    with pytest.raises(UsageError, match="upsert"):
        import_workbook(tmp_path / "t.xlsx", key=["id"])


# ---- COLUMNS THAT ARE NOT IN THE SHEET --------------------------------------------------------------------------


def test_columns_that_the_database_fills(db: Database, tmp_path: Path) -> None:
    """Identity, generated and default columns stay; a column that tells when the row was written is told anew."""
    db.run(
        "create table t (row_id int generated always as identity, k text primary key, n int, twice int generated always as (n * 2) stored, "
        "made timestamptz default clock_timestamp(), updated_at timestamptz not null default clock_timestamp(), note text default 'mine')"
    )
    path = save(tmp_path / "t.xlsx", ["k", "n"], ["a", 1], ["b", 2])
    db.load(path, mode="upsert")
    db.run("update t set note = 'kept'")
    before = {row[0]: row[1:] for row in db.rows("select k, row_id, made::text, updated_at::text from t")}
    save(path, ["k", "n"], ["a", 1], ["b", 5])
    assert _moved(db.load(path, mode="upsert")) == (0, 1, 1)
    after = {row[0]: row[1:] for row in db.rows("select k, row_id, made::text, updated_at::text from t")}
    assert after["a"] == before["a"]
    assert after["b"][:2] == before["b"][:2]
    assert after["b"][2] > before["b"][2]
    assert db.rows("select k, n, twice, note from t order by k") == [("a", 1, 2, "kept"), ("b", 5, 10, "kept")]


def test_key_alone(db: Database, tmp_path: Path) -> None:
    db.run("create table t (k int primary key)", "insert into t values (1)")
    path = save(tmp_path / "t.xlsx", ["k"], [1], [2])
    assert _moved(db.load(path, mode="upsert")) == (1, 0, 1)


def test_values_that_are_equal_and_not_the_same(db: Database, tmp_path: Path) -> None:
    """24 hours and a day, boxes of the same area: what is written counts."""
    db.run(
        "create table t (k int primary key, s text, i interval, b box, j json, p point)",
        "insert into t values (1, 'A', '1 day', '(0,0),(2,2)', '{}', '(1,2)')",
    )
    path = tmp_path / "t.xlsx"
    import datetime as dt

    save(path, ["k", "s", "i", "b", "j", "p"], [1, "A", dt.timedelta(days=1), "(4,1),(0,0)", "{}", "(1,2)"])
    assert _moved(db.load(path, mode="upsert")) == (0, 1, 0)
    assert _moved(db.load(path, mode="upsert", again=True)) == (0, 0, 1)
    assert db.rows("select s, i::text, b::text from t") == [("A", "24:00:00", "(4,1),(0,0)")]


# ---- TABLES WITH AN OPINION -------------------------------------------------------------------------------------


_LOWER = "LANGUAGE plpgsql AS 'BEGIN new.k := lower(new.k); RETURN new; END'"


@pytest.mark.parametrize("refused", [False, True], ids=["at once", "in batches"])
@pytest.mark.parametrize(
    ("made", "keys", "on_duplicate"),
    [
        (["CREATE TABLE t (k inet PRIMARY KEY, n int CHECK (n < 999))"], "10.0.0.{}/32", "reject"),
        (["CREATE TABLE t (k inet PRIMARY KEY, n int CHECK (n < 999))"], "10.0.0.{}/32", "last"),
        (
            [
                "CREATE TABLE t (k inet PRIMARY KEY, n int CHECK (n < 999)) PARTITION BY HASH (k)",
                "CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
            ],
            "10.0.0.{}/32",
            "reject",
        ),
        (
            [
                "CREATE TABLE t (k text PRIMARY KEY, n int CHECK (n < 999))",
                f"CREATE FUNCTION lower_k() RETURNS trigger {_LOWER}",
                "CREATE TRIGGER lowers BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION lower_k()",
            ],
            "a{}/32",
            "reject",
        ),
    ],
    ids=["type", "last", "partitions", "trigger"],
)
def test_keys_that_only_the_server_takes_for_equal(
    db: Database, tmp_path: Path, made: list[str], keys: str, on_duplicate: Any, refused: bool
) -> None:
    """No row of the sheet takes the place of another one without a word, in one statement or batch by batch."""
    same = str.upper if keys.startswith("a") else lambda key: key.removesuffix("/32")
    db.run(*made, f"INSERT INTO t VALUES ('{keys.format(1)}', 1), ('{keys.format(2)}', 2)")
    lines = [[keys.format(9), 999]] if refused else []
    lines += [[keys.format(1), 3], [keys.format(2), 2], [keys.format(3), 5], [keys.format(4), 6]]
    path = save(tmp_path / "t.xlsx", ["k", "n"], *lines, [same(keys.format(1)), 7], [same(keys.format(3)), 8])
    report = db.load(path, mode="upsert", key=["k"], on_duplicate=on_duplicate)
    errors, last = _errors(path.with_suffix(".rejects.xlsx")), 1 + len(lines)
    assert set(errors) == {last + 1, last + 2} | ({2} if refused else set())
    assert "its key equals that of another row of the sheet" in errors[last + 1]
    assert db.rows("select n from t order by 1") == [(2,), (3,), (5,), (6,)]
    assert _moved(report) == (2, 1, 1)


@pytest.mark.parametrize(
    "made",
    [
        ["create table t2 partition of t for values from (0) to (100)"],
        [
            "create table t2 (n int, k int not null)",
            "alter table t attach partition t2 for values from (0) to (100)",
        ],
    ],
    ids=["alike", "other order"],
)
def test_partitioned_table(db: Database, tmp_path: Path, made: list[str]) -> None:
    db.run(
        "create table t (k int primary key, n int) partition by range (k)", *made, "insert into t values (1, 1), (2, 2)"
    )
    path = save(tmp_path / "t.xlsx", ["k", "n"], [1, 1], [2, 9], [3, 3], [500, 1])
    assert _moved(db.load(path, mode="upsert")) == (1, 1, 1)
    assert list(_errors(path.with_suffix(".rejects.xlsx"))) == [5]
    assert db.rows("select k, n from t order by k") == [(1, 1), (2, 9), (3, 3)]


def test_triggers(db: Database, tmp_path: Path) -> None:
    """They change values, refuse rows, and leave rows out on insert or update; unchanged rows fire no update."""
    db.run(
        "create table t (k int primary key, s text)",
        "create table log (k int)",
        """create function low() returns trigger language plpgsql as $$ begin
        if new.s = 'out' or (tg_op = 'UPDATE' and new.s = 'not again') then return null; end if;
        if new.s = 'no' then raise exception 'no'; end if;
        if tg_op = 'UPDATE' then insert into log values (new.k); end if;
        new.s := lower(new.s); return new; end $$""",
        "insert into t values (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')",
        "create trigger low before insert or update on t for each row execute function low()",
    )
    lines = [[1, "A"], [2, "X"], [3, "out"], [4, "not again"], [5, "E"], [6, "no"], [7, "out"]]
    path = save(tmp_path / "t.xlsx", ["k", "s"], *lines)
    report = db.load(path, mode="upsert")
    assert list(_errors(path.with_suffix(".rejects.xlsx"))) == [4, 5, 7, 8]
    assert _moved(report) == (1, 1, 1)
    assert db.rows("select k, s from t order by k") == [(1, "a"), (2, "x"), (3, "c"), (4, "d"), (5, "e")]
    assert db.rows("select distinct k from log") == [(2,)]


@pytest.mark.parametrize("mode", ["upsert"])
def test_check_counts_as_run_does(db: Database, tmp_path: Path, mode: Any) -> None:
    db.run("create table t (k int primary key, n int check (n > 0))", "insert into t values (1, 1), (2, 2)")
    lines = [[1, 1], [2, 9], [3, 3], [4, -1], [3, 4], [None, 1]]
    path = save(tmp_path / "t.xlsx", ["k", "n"], *lines)
    before = db.rows("select xmin::text, t.*::text from t")
    checked = db.load(path, mode=mode, dry_run=True, on_duplicate="last")
    assert db.rows("select xmin::text, t.*::text from t") == before
    ran = db.load(path, mode=mode, on_duplicate="last")
    assert (
        checked.table_rows
        == ran.table_rows
        == {"inserted": 1, "updated": 1, "unchanged": 1, "deleted": 0, "refused": 1}
    )
    assert checked.rules == ran.rules
    assert [c.count for c in checked.columns] == [c.count for c in ran.columns]
    assert ran.rows["superseded"] == 1
    assert any("rows 4" in note for note in ran.notes)
    assert (ran.success_count, ran.error_count) == (4, 2)


def test_writers_of_the_same_keys_at_once(db: Database, tmp_path: Path) -> None:
    """No row is lost, none is doubled, and nobody fails; every row is that of one writer."""
    db.run("create table t (k int primary key, who int, n int)")
    failures: list[BaseException] = []
    paths = []
    for who in range(3):
        keys = list(range(300))[:: 1 if who % 2 else -1]
        paths.append(save(tmp_path / f"w{who}.xlsx", ["k", "who", "n"], *[[k, who, k * 10 + who] for k in keys]))

    def load(path: Path) -> None:
        try:
            db.load(path, mode="upsert", table="t", workers=1)
        except BaseException as exc:  # noqa: BLE001 - told below
            failures.append(exc)

    threads = [threading.Thread(target=load, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    rows = db.rows("select k, who, n from t order by k")
    assert [k for k, _, _ in rows] == list(range(300))
    assert all(n == k * 10 + who for k, who, n in rows)
    assert len({who for _, who, _ in rows}) == 1


def test_replace_with_rows_left_out_is_done_once(db: Database, tmp_path: Path) -> None:
    """The ledger counts the rows of the table, not those that gave way."""
    db.run("create table t (k int primary key, n int)")
    path = save(tmp_path / "t.xlsx", ["k", "n"], [1, 1], [1, 2], [2, 2])
    assert db.load(path, mode="replace", on_duplicate="last").rows["superseded"] == 1
    assert db.rows("select k, n from t order by k") == [(1, 2), (2, 2)]
    assert db.load(path, mode="replace", on_duplicate="last").outcome == "already-imported"
