"""The error tree: what crosses a process border, what code it means, and how the driver's errors become ours."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adbc_driver_manager
import pytest

from importer import errors
from importer.errors import BudgetExceeded, Conflict, ConnectionFailed, DatabaseError, ImporterError, Interrupted
from importer.option_values import RejectBudget
from importer.postgres.session import Session, database_errors
from importer.settings import Dsn, find_dsn

if TYPE_CHECKING:
    from conftest import Database

CLASSES = sorted(
    (c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, ImporterError)), key=lambda c: c.__name__
)
FOREIGN = sorted(
    (c for c in vars(adbc_driver_manager).values() if isinstance(c, type) and issubclass(c, adbc_driver_manager.Error)),
    key=lambda c: c.__name__,
)
CODES = {
    "UsageError": 2, "InputError": 3, "WorkbookRefused": 3, "SheetError": 3, "ContractError": 3, "ReaderDied": 3, "SourceUnseen": 3, "LimitExceeded": 3, "ConservationError": 3,
    "DatabaseError": 4, "ConnectionFailed": 4, "Conflict": 4, "TargetChanged": 4, "TargetRefused": 4, "VerificationFailed": 4, "MachineError": 4,
    "LoginRefused": 4, "ReaderKilled": 4, "WriterDied": 4, "TimedOut": 4, "ImporterError": 4, "BudgetExceeded": 5, "Interrupted": 130,
    "NotSpooled": 4,
    "CellsDisputed": 4, "CellsDisagree": 3, "CommitUnknown": 4,
    "SourceRefused": 3, "SourceUnavailable": 4, "SourceChanged": 4, "NotDelivered": 4,
}  # fmt: skip


@pytest.mark.parametrize("kind", CLASSES)
def test_error_pickles_with_its_fields(kind: type[ImporterError]) -> None:
    error = kind("the fact", place="Sheet1!A1", choice="do this")
    error.note = {"any": ["field", 1]}  # type: ignore[attr-defined]
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert again.__dict__ == error.__dict__
    assert str(again) == str(error) == "the fact\n  where: Sheet1!A1\n  try:   do this"
    assert again.args == ("the fact",)


def test_error_of_the_database_keeps_its_code() -> None:
    error = Conflict("deadlock", sqlstate="40P01", constraint="x_key")
    again = pickle.loads(pickle.dumps(error))
    assert (again.sqlstate, again.constraint) == ("40P01", "x_key")


def test_error_codes() -> None:
    assert {kind.__name__: kind.exit_code for kind in CLASSES} == CODES


def test_error_tree_is_drawn_as_it_is() -> None:
    """Every class stands in the drawing at the top, with its code."""
    drawn = dict(re.findall(r"[─ ] (\w+) +(\d+)  ", errors.__doc__ or ""))
    assert {name: int(code) for name, code in drawn.items()} == {n: c for n, c in CODES.items() if n in drawn}
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in CLASSES)


def test_error_transient_by_class() -> None:
    assert sorted(kind.__name__ for kind in CLASSES if kind.transient) == [
        "Conflict",
        "ConnectionFailed",
        "NotSpooled",
        "SourceChanged",
        "SourceUnavailable",
        "TargetChanged",
    ]


@pytest.mark.parametrize("kind", CLASSES)
def test_error_has_a_docstring(kind: type[ImporterError]) -> None:
    assert kind.__doc__
    assert kind.__doc__ != ImporterError.__doc__ or kind is ImporterError


def test_error_without_place_is_one_line() -> None:
    assert str(Interrupted("stopped")) == "stopped"


def test_budget_error_has_a_report_field() -> None:
    assert BudgetExceeded("too many").report is None


def test_foreign_errors_are_known() -> None:
    """A new class of the driver must be looked at before it is mapped by chance."""
    assert [kind.__name__ for kind in FOREIGN] == [
        "DataError", "DatabaseError", "Error", "IntegrityError", "InterfaceError", "InternalError", "NotSupportedError",
        "OperationalError", "ProgrammingError",
    ]  # fmt: skip


def driver_error(kind: type[Any], text: str, state: str | None) -> BaseException:
    code = {} if kind.__name__ == "NotSupportedError" else {"status_code": adbc_driver_manager.AdbcStatusCode.INTERNAL}
    return kind(text, sqlstate=state, **code)  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize(
    ("state", "ours"),
    [
        (None, DatabaseError), ("42P01", DatabaseError), ("08006", ConnectionFailed), ("57P01", ConnectionFailed),
        ("53300", ConnectionFailed), ("40001", Conflict), ("40P01", Conflict), ("55P03", Conflict),
    ],
)  # fmt: skip
def test_foreign_error_is_mapped(kind: type[Any], state: str | None, ours: type[DatabaseError]) -> None:
    with pytest.raises(DatabaseError) as caught, database_errors():
        raise driver_error(kind, "ERROR:  it broke\nDETAIL:  Key (email)=(ada@example.org) exists", state)
    assert type(caught.value) is ours
    assert caught.value.sqlstate == state
    assert caught.value.fact.startswith("PostgreSQL refused: it broke")
    assert "ada@example.org" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert pickle.loads(pickle.dumps(caught.value)).sqlstate == state


def test_lost_connection_has_no_code() -> None:
    """libpq gives none; the driver tells it as trouble with I/O."""
    lost = adbc_driver_manager.OperationalError("IO: no connection", status_code=adbc_driver_manager.AdbcStatusCode.IO)
    with pytest.raises(ConnectionFailed, match="lost") as caught, database_errors():
        raise lost
    assert (caught.value.transient, caught.value.resumable) == (True, True)


@pytest.mark.parametrize(
    ("text", "transient"),
    [
        ('connection to server at "h" (::1), port 1 failed: Connection refused', True),
        ('connection to server on socket "/s" failed: FATAL:  the database system is starting up', True),
        ('connection to server on socket "/s" failed: FATAL:  sorry, too many clients already', True),
        ('connection to server at "h" failed: FATAL:  password authentication failed for user "u"', False),
        ('connection to server at "h" failed: FATAL:  database "x" does not exist', False),
        ('could not translate host name "x" to address: Name or service not known', False),
    ],
)
def test_refused_connection_is_tried_again_where_that_can_help(text: str, transient: bool) -> None:
    error = adbc_driver_manager.OperationalError(f"IO: {text}", status_code=adbc_driver_manager.AdbcStatusCode.IO)
    with pytest.raises(ConnectionFailed) as caught, database_errors(connecting=True):
        raise error
    assert caught.value.transient is transient


@pytest.mark.parametrize(
    ("state", "resumable"), [("53100", True), ("57014", True), ("58030", True), ("23514", False), ("42501", False)]
)
def test_what_the_server_is_to_blame_for_can_be_resumed(state: str, resumable: bool) -> None:
    assert DatabaseError("no", sqlstate=state).resumable is resumable


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_other_errors_pass(kind: type[BaseException]) -> None:
    with pytest.raises(kind), database_errors():
        raise kind


def test_server_errors_name_constraint_and_hide_values(db: Database) -> None:
    db.run(
        f"CREATE TABLE {db.schema}.k (a text CONSTRAINT only_once UNIQUE)",
        f"INSERT INTO {db.schema}.k VALUES ('secret value')",
    )
    with pytest.raises(DatabaseError) as caught:
        db.run("INSERT INTO k VALUES ('secret value')")
    assert (caught.value.sqlstate, caught.value.constraint) == ("23505", "only_once")
    assert "secret value" not in str(caught.value)


def test_server_stops_the_session(db: Database) -> None:
    with Session(db.dsn) as session, pytest.raises(ConnectionFailed) as caught:
        (pid,) = session.query("select pg_backend_pid()")[0]
        db.rows(f"select pg_terminate_backend({pid})")
        session.query("select 1")
    assert caught.value.exit_code == 4


MASKED = {
    "postgresql://u:s3cret@localhost:5432/db": "postgresql://u:***@localhost:5432/db",
    "postgresql://u:s3c@ret@localhost/db": "postgresql://u:***@localhost/db",
    "postgresql://u:s3c/ret@localhost/db": "postgresql://u:***@localhost/db",
    "postgresql://u:s3c:ret@localhost/db": "postgresql://u:***@localhost/db",
    "postgresql://u:p?s3cret=1@h/db": "postgresql://u:***@h/db",
    "postgresql://localhost/db?user=x&password=s3cret&port=1": "postgresql://localhost/db?user=x&password=***&port=1",
    "postgresql://u@h/db?password=s3@cret": "postgresql://u@h/db?password=***",
    "postgresql://u@h/db?pasword=s3cret": "postgresql://u@h/db?pasword=***",
    "postgresql://u:s3cret": "postgresql://u:***",
    "u:s3cret@localhost/db": "u:***@localhost/db",
    "postgresql//u:s3cret@localhost/db": "postgresql//u:***@localhost/db",
    "mysql://u:s3cret@localhost/db": "mysql://u:***@localhost/db",
    "host=h user=u password=s3cret": "host=h user=u password=***",
    "host=h password = 's3 cret' port=1": "host=h password=*** port=1",
    "host=h password='s3 cret": "host=h password=***",
    "host=h password=foo s3cret": "host=h password=*** ***",
    "host=h pasword=s3cret sslpassword=s3cret": "host=h pasword=*** sslpassword=***",
    "s3cret": "***",
    "postgresql://h1:1,h2:2/db": "postgresql://h1:1,h2:2/db",
    "postgresql://[::1]:5432/db": "postgresql://[:***",
    "postgresql:///db?host=/tmp": "postgresql:///db?host=/tmp",
}


@pytest.mark.parametrize(("text", "masked"), MASKED.items())
def test_dsn_hides_the_password(text: str, masked: str) -> None:
    dsn = Dsn(text)
    assert (dsn.masked, str(dsn), repr(dsn)) == (masked, masked, f"Dsn({masked!r})")
    assert f"{dsn}" == masked


@pytest.mark.parametrize(
    ("text", "misread"),
    [
        ("postgresql://u:p@h/d", False),
        ("postgresql://u:p@q@h/d", True),
        ("postgresql://u:p/q@h/d", True),
        ("host=h password=a@b/c@d", False),
    ],
)
def test_dsn_misread(text: str, misread: bool) -> None:
    assert Dsn(text).misread is misread


@pytest.mark.parametrize(
    ("given", "environ", "found"),
    [
        (None, {}, None),
        ("postgres://h/d", {"IMPORTER_DSN": "x"}, "postgresql://h/d"),
        (None, {"IMPORTER_DSN": "postgresql+psycopg://h/d", "DATABASE_URL": "y"}, "postgresql://h/d"),
        (None, {"IMPORTER_DSN": "", "DATABASE_URL": " host=h "}, "host=h"),
        (None, {"PGHOST": "h"}, "postgresql://"),
        (None, {"PGPASSWORD": "p"}, None),
    ],
)
def test_dsn_is_found(given: str | None, environ: dict[str, str], found: str | None) -> None:
    dsn = find_dsn(given, environ)
    assert (dsn.text if dsn else None) == found


@pytest.mark.parametrize("blank", ["", "  "])
def test_dsn_blank_is_not_the_embedded_server(blank: str) -> None:
    with pytest.raises(errors.UsageError, match="target server is an empty text"):
        find_dsn(blank, {"IMPORTER_DSN": "postgresql://h/d"})


@pytest.mark.parametrize(
    ("text", "rows", "most"), [("0", 10, 0), ("3", 10, 3), ("10%", 25, 2), ("0.5%", 1000, 5), ("100 %", 7, 7)]
)
def test_budget_allows(text: str, rows: int, most: int) -> None:
    budget = RejectBudget.parse(text)
    assert [budget.allows(n, rows) for n in (most, most + 1)] == [True, False]


@pytest.mark.parametrize("text", ["", "-1", "1.5", "101%", "x", "5 rows", "%"])
def test_budget_refused(text: str) -> None:
    with pytest.raises(errors.UsageError, match="--max-rejects takes"):
        RejectBudget.parse(text)


def test_modules_raise_only_what_the_tree_has() -> None:
    """No module defines an exception of its own, apart from carriers inside it."""
    own = {}
    package = Path(errors.__file__).parent
    for path in (p for p in package.rglob("*.py") if package / "serve" not in p.parents):
        found = re.findall(
            r"^class (\w+)\((?:\w*Error|Exception|BaseException|KeyboardInterrupt)\)", path.read_text(), re.MULTILINE
        )
        if found and path.name != "errors.py":
            own[path.name] = found
    assert own == {
        "lease.py": ["AlreadyImported"],
        "exits.py": ["_Terminated"],
        "own_process.py": ["NeedsWorker"],
        "shared_strings.py": ["_OddSpelling"],
        "task_result.py": ["WorkerTraceback"],
        "together.py": ["_LoadAgain"],
    }
