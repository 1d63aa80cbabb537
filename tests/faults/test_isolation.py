"""A run publishes while another session works on the same table, in every order of their steps.

The table is then what one of the two after the other would have made of it; or the run fails, publishes nothing, and
the same command again does. The short form tries a few orders of each mode, `--long` all of them.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pytest
from support.asking import held_session
from support.faults import Server, own_server
from support.serving import wait_for
from support.stepping import Actor, Interleaving, SteppingWire, import_actor, sql_actor
from support.tables import save

from importer import pipeline
from importer.errors import ImporterError
from importer.load import direct_copy
from importer.postgres.session import Session
from importer.settings import Settings, make_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.fault_report import Injected

KEYED = "create table t (number bigint primary key, name text, amount double precision)"
PLAIN = "create table t (number bigint, name text, amount double precision)"
OLD = "insert into t values (-1, 'a', 0.5), (5, 'old', 1.5)"
#: A run that waits longer was not woken; it is then told which order that was.
_SECONDS = 120
#: Mode of the load and statement that makes the table, by scenario. `append` finds a row with the key of one of its own.
SCENARIOS: dict[str, tuple[Any, str | None]] = {
    "append": ("append", KEYED),
    "direct": ("append", PLAIN),
    "replace": ("replace", KEYED),
    "replace-plain": ("replace", PLAIN),
    "upsert": ("upsert", KEYED),
    "create": ("create", None),
}
#: What the other session does: statements of one transaction.
WRITES = {
    "insert": ["insert into t values (-7, 'w', 7)"],
    "insert-key": ["insert into t values (30, 'w', 7)"],
    "update-old": ["update t set name = 'w' where number < 0"],
    "update-all": ["update t set amount = amount + 1"],
    "update-key": ["update t set number = 30 where number = 5"],
    "delete-old": ["delete from t where number = 5"],
    "delete-all": ["delete from t"],
    "truncate": ["truncate t"],
    "select-for-update": ["select * from t for update"],
}
CHANGES = {
    "alter-type": ["alter table t alter amount type integer"],
    "alter-varchar": ["alter table t alter name type varchar(3)"],
    "add-column": ["alter table t add more text default 'x'"],
    "add-required": ["alter table t add more text not null default 'x'", "alter table t alter more drop default"],
    "drop-column": ["alter table t drop amount"],
    "rename-column": ["alter table t rename amount to price"],
    "swap-columns": [
        "alter table t rename number to x", "alter table t rename amount to number", "alter table t rename x to amount",
    ],
    "rename": ["alter table t rename to other"],
    "drop": ["drop table t"],
    "again": ["drop table t", PLAIN.replace("double precision", "text")],
    "view": ["alter table t rename to other", "create view t as select * from other"],
    "index": ["create index on t (name)"],
    "unique": ["create unique index on t (amount)"],
    "check": ["alter table t add check (number < 20) not valid"],
    "not-null": ["alter table t alter name set not null"],
    "trigger": [
        "create function skip() returns trigger language plpgsql as $$ begin return null; end $$",
        "create trigger skip before insert on t for each row when (new.number > 20) execute function skip()",
    ],
    "rule": ["create rule nothing as on insert to t do instead nothing"],
    "policy": ["alter table t enable row level security", "alter table t force row level security"],
    "child": ["create table child () inherits (t)"],
    "lock": ["lock table t in access exclusive mode"],
    "write-and-alter": ["insert into t values (-7, 'w', 7)", "alter table t alter amount type real"],
}  # fmt: skip
#: What cannot be part of a transaction.
ALONE = {"vacuum-full": "vacuum full t", "index-concurrently": "create index concurrently on t (name)"}
#: What another session may do about a table that is not there yet.
CREATES = {
    "table": [PLAIN],
    "filled": [PLAIN, "insert into t values (-7, 'w', 7)"],
    "view": ["create view t as select 1::bigint as number, 'w'::text as name, 1.5::float8 as amount"],
    "type": ["create type t as (a int)"],
    "other": ["create table other (a int)"],
}
#: Other runs: the same workbook, and another one by each mode.
RUNS = ("same", "append", "replace", "upsert")


@dataclass(frozen=True)
class Order:
    """One order of steps.

    Attributes:
        scenario: what the run does.
        other: what the other session does, `run:` before another run.
        begin_at: index of the stop of the run before which it begins.
        end_at: index of the stop before which it ends.
        end: whether it commits.
    """

    scenario: str
    other: str
    begin_at: int
    end_at: int
    end: Literal["commit", "rollback"]


class Bench:
    """A server with two workbooks, and what comes of one session after the other.

    Args:
        own: the server.
        folder: for the workbooks.
    """

    def __init__(self, own: Server, folder: Path) -> None:
        self._own, self._serial = own, dict[Any, Any]()
        head = ["number", "name", "amount"]
        self._book = save(folder / "book.xlsx", head, *[[n, f"n{n}", n / 4] for n in range(1, 161)])
        self._other = save(folder / "other.xlsx", head, *[[n, f"m{n}", n / 2] for n in range(100, 261)])

    def settings(self, scenario: str, port: int | None = None) -> Settings:
        return self._settings(self._book, SCENARIOS[scenario][0], port or self._own.port)

    def _settings(self, book: Path, mode: Any, port: int) -> Settings:
        dsn = self._own.dsn.text.replace(f":{self._own.port}/", f":{port}/")
        rejects = book.with_suffix(f".{port}.rejects.xlsx")
        key = ["number"] if mode == "upsert" else None
        return make_settings(
            book, to=dsn, table="t", mode=mode, key=key, workers=0, chunk_rows=80, retry_for=0, rejects=rejects,
            timeout=_SECONDS,
        )  # fmt: skip

    def actor(self, order: Order) -> Actor:
        commit = order.end == "commit"
        if order.other.startswith("run:"):
            mode = order.other.removeprefix("run:")
            same = mode == "same"
            settings = self._settings(
                self._book if same else self._other, SCENARIOS[order.scenario][0] if same else mode, self._own.port
            )
            return import_actor(settings, commit=commit)
        alone = ALONE.get(order.other)
        made = CREATES if SCENARIOS[order.scenario][1] is None else {**WRITES, **CHANGES}
        return sql_actor(self._own.dsn, [alone] if alone else made[order.other], alone=bool(alone), commit=commit)

    def reset(self, scenario: str) -> None:
        with held_session(self._own.dsn, autocommit=True) as session:
            session.run("set client_min_messages = warning; drop schema if exists importer cascade")
            session.run("drop schema public cascade; create schema public")
            if table := SCENARIOS[scenario][1]:
                session.run(table)
                session.run(OLD)

    def run(self, scenario: str, port: int | None = None, **more: Any) -> str:
        """What comes of a run, in a few words."""
        try:
            report = pipeline.run(self.settings(scenario, port), **more)
        except ImporterError as exc:
            return f"{type(exc).__name__} {getattr(exc, 'sqlstate', None)}"
        return f"{report.outcome} {report.success_count} {report.error_count}"

    def state(self) -> tuple[Any, ...]:
        """All tables with their columns and rows, and how many runs of the ledger are in which state."""
        tables = []
        for name, columns in self._own.rows(
            "select relname::text, (select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' "
            "order by attnum) from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped) as columns "
            "from pg_class c where relnamespace = 'public'::regnamespace and relkind in ('r', 'v') order by 1"
        ):
            tables.append((name, columns, self._own.rows(f'select x::text from public."{name}" x order by 1')))
        if self._own.rows("select to_regclass('importer.runs')::text") == [(None,)]:
            return tables, []
        runs = "select workbook, state, count(*) from importer.runs group by 1, 2 order by 1, 2"
        return tables, self._own.rows(runs)

    def serial(self, order: Order, sequence: str) -> tuple[Any, ...]:
        """What comes of steps one after the other: `r` the run, `o` the other session.

        Returns:
            For each step what came of it, and the state at last.
        """
        rolled_back = "" if order.end == "commit" or "o" not in sequence else "rolled back"
        key = (order.scenario, order.other if "o" in sequence else "", sequence, rolled_back)
        if key not in self._serial:
            self.reset(order.scenario)
            said: dict[str, str | None] = {"o": None}
            for step in sequence:
                said[step] = self.run(order.scenario) if step == "r" else self.actor(order).act()
            self._serial[key] = (said.get("r"), said["o"], self.state())
        return self._serial[key]


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    with own_server() as made:
        # A deadlock is one at once.
        made.run("alter system set deadlock_timeout = '50ms'", "select pg_reload_conf()")
        yield made


@pytest.fixture(scope="module")
def bench(own: Server, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(own, tmp_path_factory.mktemp("isolation"))


def stops_of(own: Server, bench: Bench, scenario: str) -> list[str]:
    """The points that a run of that scenario waits at, in order."""
    found: list[str] = []
    bench.reset(scenario)
    with SteppingWire(own.port, found.append) as wire:
        assert bench.run(scenario, wire.port).startswith("published")
    # A statement that reads otherwise than it did would take its point away without a word.
    last = ["move", "rename"] if scenario == "create" else ["compare", "fill"]
    assert {"lock", "plan", "stage", "verify", *last, "ledger", "commit", "after"} <= set(found), found
    return list(dict.fromkeys(found))


def try_order(own: Server, bench: Bench, order: Order, stops: list[str]) -> str:
    """One order of steps, and the run again after it; returns what the order came to."""
    serial = {s: bench.serial(order, s) for s in (("ro", "or") if order.end == "commit" else ("r",))}
    again = {s: bench.serial(order, f"{s}r") for s in serial}
    other_alone, other_first = bench.serial(order, "o"), bench.serial(order, "or")
    bench.reset(order.scenario)
    steps = Interleaving(own.dsn, bench.actor(order), order.begin_at, order.end_at)

    def on_stop(name: str) -> None:
        if name in stops:
            steps.stop(stops.index(name))

    with SteppingWire(own.port, on_stop) as wire, steps.taking_part():
        steps.ports = wire.server_ports
        said = bench.run(order.scenario, wire.port, progress=steps.progress)
    state = bench.state()
    names = f"{order}: begins at {stops[order.begin_at]}, ends at {stops[order.end_at]}"
    what = f"{names}; run: {said}, other: {steps.error}, blocked: {steps.blocked}, waited: {steps.waited}"
    # That the name is taken is found by looking for it, or later by the unique index of a catalog.
    taken = {"23505", "42P07", "42710"} if order.scenario == "create" else set()
    if steps.error == "40P01":
        serial, again = {"r": bench.serial(order, "r")}, {"r": bench.serial(order, "rr")}
    fits = [s for s, (run, other, result) in serial.items()
            if (run, result) == (said, state) and (other == steps.error or {other, steps.error} <= taken or "o" not in s)]  # fmt: skip
    if not fits:
        # The run failed: as if it had not been there, and the next one is one after the other session.
        assert not said.startswith(("published", "already")), (what, state, serial)
        alone = other_alone if order.end == "commit" and steps.error != "40P01" else bench.serial(order, "")
        assert state[0] == alone[2][0], (what, state, alone)
        fits, again = ["or"], {"or": other_first if order.end == "commit" else bench.serial(order, "r")}
    next_said = bench.run(order.scenario)
    assert (next_said, bench.state()[0]) in [(again[s][0], again[s][2][0]) for s in fits], (what, next_said, again)
    if steps.error == "40P01" or "40P01" in said:
        return "deadlock"
    kind = "blocked" if steps.blocked else "waited" if steps.waited else "free"
    return kind if said.startswith(("published", "already")) else f"{kind}, refused"


def orders_of(scenario: str, stops: list[str]) -> list[Order]:
    """All orders of a scenario."""
    empty = SCENARIOS[scenario][1] is None
    runs = [f"run:{mode}" for mode in RUNS if mode != "upsert" or SCENARIOS[scenario][1] == KEYED]
    others = [*(CREATES if empty else {**WRITES, **CHANGES}), *([] if empty else ALONE), *runs]
    pairs = list(itertools.combinations_with_replacement(range(len(stops)), 2))
    return [
        Order(scenario, other, begin, end, how)
        for other in others
        for begin, end in (pairs if other not in ALONE else [(n, n) for n in range(len(stops))])
        for how in (("commit",) if other in ALONE else ("commit", "rollback"))
    ]


@pytest.fixture
def way(scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sheets of any size are copied straight into the table, or none."""
    monkeypatch.setattr(direct_copy, "DIRECT_BYTES", 0 if scenario == "direct" else 1 << 40)


@pytest.mark.timeout(36_000)
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.usefixtures("way")
def test_orders_of_steps(
    own: Server, bench: Bench, scenario: str, seed: int, injected: Injected, request: pytest.FixtureRequest
) -> None:
    stops = stops_of(own, bench, scenario)
    every = orders_of(scenario, stops)
    few = request.config.getoption("--moments") or (None if request.config.getoption("--long") else 2)
    orders = every if few is None else some(every, few, random.Random(seed))
    injected.are_orders, injected.moments = True, f"{len(every)} orders at {len(stops)} stops"
    for order in orders:
        injected.attempt("broken", partial(try_order, own, bench, order, stops))
    injected.check()


#: Orders that broke a promise once: scenario, what the other session does, the points where it begins and ends.
FOUND = [
    ("replace-plain", "run:replace", "plan", "after"),
    ("replace", "insert-key", "plan", "after"),
]


@pytest.mark.parametrize(("scenario", "other", "begin", "end"), FOUND)
def test_order_that_broke_a_promise(own: Server, bench: Bench, scenario: str, other: str, begin: str, end: str) -> None:
    stops = stops_of(own, bench, scenario)
    try_order(own, bench, Order(scenario, other, stops.index(begin), stops.index(end), "commit"), stops)


def test_run_waits_for_a_session_that_was_blocked_before(own: Server) -> None:
    """The other session goes on once the run commits, and holds what the run wants next: it is ended then."""
    own.run("drop table if exists public.a, public.b", "create table public.a ()", "create table public.b ()")
    other = sql_actor(own.dsn, ["lock table public.a", "lock table public.b"], alone=False, commit=True)
    steps = Interleaving(own.dsn, other, 0, 1)
    with Session(own.dsn) as run, steps.taking_part():
        port = run.value("select inet_client_port()")
        steps.ports = lambda: {port}
        run.run("set lock_timeout = '60s'")
        run.run("lock table public.a")
        steps.stop(0)
        assert steps.blocked
        run.commit()
        held = "select 1 from pg_locks where relation = 'public.b'::regclass and granted"
        wait_for(lambda: own.rows(held))
        run.run("lock table public.b")
        run.commit()
    assert (steps.waited, steps.error) == (True, None)


def some(orders: list[Order], few: int, chance: random.Random) -> list[Order]:
    """So many orders, two of each kind: what comes of one session after the other is then found out once for both."""
    others = sorted({order.other for order in orders})
    kinds = chance.sample(others, min(len(others), -(-few // 2)))
    pairs = [chance.sample([order for order in orders if order.other == kind], 2) for kind in kinds]
    return [order for pair in pairs for order in pair][:few]
