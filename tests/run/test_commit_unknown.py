"""A run that is stopped during its commit: nobody is told that nothing was published, and the old rejects file stays."""

from __future__ import annotations

import json
import pickle
import signal
from typing import TYPE_CHECKING, Any

import pytest
from support.tables import contract, save

from importer.cli.exits import _Terminated, exit_on_error
from importer.errors import CommitUnknown, TimedOut
from importer.ledger import tables as ledger
from importer.postgres.session import Session
from importer.serve.child.main import _work
from importer.serve.models.child import HelloCommand

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Database

STOPS: list[Callable[[], BaseException]] = [
    KeyboardInterrupt,
    lambda: _Terminated(signal.SIGTERM),
    lambda: TimedOut("not done within 9 s", choice="raise --timeout"),
]
NAMES = ["int", "term", "timeout"]
GO_ON = "run the same command again: it goes on where this one stopped"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return save(tmp_path / "t.xlsx", ["id"], [1], [2], ["x"])


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    return {"contract": contract(tmp_path / "c.json", fields=[{"name": "id", "type": "integer"}])}


def _stop_at_commit(monkeypatch: pytest.MonkeyPatch, stop: BaseException, *, done: bool) -> None:
    """Raise in the commit that publishes: after it reached the server (`done`), or before."""
    mark, commit = ledger.mark_published, Session.commit
    armed = False

    def marked(*args: Any, **kwargs: Any) -> None:
        nonlocal armed
        mark(*args, **kwargs)
        armed = True

    def stopped(session: Session) -> None:
        nonlocal armed
        if not armed:
            commit(session)
            return
        armed = False
        if done:
            commit(session)
        raise stop

    monkeypatch.setattr(ledger, "mark_published", marked)
    monkeypatch.setattr(Session, "commit", stopped)


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("stop", STOPS, ids=NAMES)
def test_stopped_commit(
    db: Database, book: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, stop: Any, done: bool
) -> None:
    db.load(book, **options)
    old = book.with_suffix(".rejects.xlsx").read_bytes()
    exc = stop()
    with monkeypatch.context() as patched:
        _stop_at_commit(patched, exc, done=done)
        with pytest.raises(CommitUnknown) as caught:
            db.load(book, again=True, rejects=book.with_suffix(".rejects.xlsx"), **options)
    assert caught.value.stopped_by is exc
    assert caught.value.choice == (f"raise --timeout; or {GO_ON}" if isinstance(exc, TimedOut) else GO_ON)
    assert db.rows("select count(*) from t") == [(4 if done else 2,)]
    states = [
        s
        for (s,) in db.rows(f"select state from importer.runs where target_schema = '{db.schema}' order by started_at")
    ]
    ended = "failed" if isinstance(exc, TimedOut) else "interrupted"
    assert states == ["published", "published" if done else ended]
    assert book.with_suffix(".rejects.xlsx").read_bytes() == old


@pytest.mark.parametrize("where", ["plan", "create"])
def test_stopped_before_there_is_anything_to_continue_from(
    db: Database, book: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Nothing says that the run goes on: the ledger does not know of it."""

    def stopped(*_args: Any, **_kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if where == "plan":
            patched.setattr("importer.pipeline.write_and_publish", stopped)
        else:
            patched.setattr(ledger, "open_run", stopped)
        with pytest.raises(KeyboardInterrupt) as caught:
            db.load(book, method="concurrent")
    assert not getattr(caught.value, "__notes__", [])
    assert db.leftovers() == []


@pytest.mark.parametrize(
    ("stop", "code", "kind", "fact", "choice"),
    [
        (STOPS[0], 130, "Interrupted", "interrupted while publishing, which may have been done", GO_ON),
        (STOPS[1], 143, "Interrupted", "terminated while publishing, which may have been done", GO_ON),
        (STOPS[2], 4, "TimedOut", "not done within 9 s", f"raise --timeout; or {GO_ON}"),
    ],
    ids=NAMES,
)
def test_command_shows_what_stopped_it(
    capsys: pytest.CaptureFixture[str], stop: Any, code: int, kind: str, fact: str, choice: str
) -> None:
    with pytest.raises(SystemExit) as left, exit_on_error(as_json=True):
        raise CommitUnknown("unknown", choice=choice, stopped_by=stop())
    out, err = capsys.readouterr()
    assert (left.value.code, err) == (code, f"importer: {fact}\n  try:   {choice}\n")
    error = {"type": kind, "message": fact, "place": None, "choice": choice, "exit_code": code}
    assert json.loads(out) == {"outcome": "failed", "error": error}


class _Events:
    """Stands for the channel to the service."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, event: Any) -> None:
        self.sent.append(event)


@pytest.mark.parametrize(
    ("raised", "kind", "status", "unsure", "goes_on"),
    [
        (KeyboardInterrupt(), "Interrupted", 503, False, False),
        (CommitUnknown("unknown", stopped_by=KeyboardInterrupt()), "Interrupted", 503, True, False),
        (CommitUnknown("unknown", stopped_by=TimedOut("late")), "TimedOut", 422, True, True),
    ],
    ids=["int before the commit", "int", "timeout"],
)
def test_child_of_the_service_tells_it(
    raised: BaseException, kind: str, status: int, unsure: bool, goes_on: bool
) -> None:
    def operation(_command: Any, _channel: Any) -> Any:
        raise raised

    channel: Any = _Events()
    if goes_on:  # the child takes further commands
        _work(operation, HelloCommand(), channel)
    else:
        with pytest.raises(KeyboardInterrupt):
            _work(operation, HelloCommand(), channel)
    (event,) = channel.sent
    assert (event.event, event.error.type, event.error.status, event.error.unsure) == ("error", kind, status, unsure)
    assert ("may have been published" in event.error.error) is (unsure and not goes_on)


@pytest.mark.parametrize("stop", STOPS, ids=NAMES)
def test_error_pickles_with_what_stopped_it(stop: Any) -> None:
    again = pickle.loads(pickle.dumps(CommitUnknown("unknown", stopped_by=stop())))
    assert type(again.stopped_by) is type(stop())
    assert again.stopped_by.args == stop().args
