"""A file of the service fails at its n-th call, for every n, while it receives and loads a workbook: resumed or sent
again, it ends in one clean load, with the rejects of one, and the service keeps nothing else.

The short form tries a few calls, `--long` every one, `--moments N` so many.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import openpyxl
import pytest
from support.asking import held_session
from support.faults import Server, wait_for_backends
from support.filefaults import FileFaults
from support.serving import SECONDS, Service, book, serving, short_folder, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.fault_report import Injected

KINDS = ("ENOSPC", "kill", "EIO", "full", "short", "kill-one", "EDQUOT", "EINTR", "EMFILE")
ROWS, BAD = 40, (7, 30)
OLD = [(-1, "old")]
ENDED = {"done", "failed", "interrupted", "cancelled"}


@dataclass
class Place:
    """A server, a folder of a service, what fails its files, and the service while it runs."""

    own: Server
    folder: Path
    faults: FileFaults
    stack: contextlib.ExitStack
    service: Service | None = None

    def running(self) -> Service:
        """The service, which is started again if it was killed."""
        if self.service is not None and self.service.running.process.poll() is not None:
            self.stop()
        if self.service is None:
            self.service = self.stack.enter_context(
                serving(self.own.dsn, self.folder, "--allow-tables", "public.*", "--workers", 2, **self.faults.env)
            )
        return self.service

    def stop(self) -> None:
        self.stack.close()
        self.service = None

    def reset(self) -> None:
        with held_session(self.own.dsn, autocommit=True) as session:
            session.run("set client_min_messages = warning; drop schema if exists importer cascade")
            session.run("drop table if exists t; create table t (n bigint, word text)")
            session.run("insert into t values (-1, 'old')")

    def table(self) -> list[Any]:
        return self.own.rows("select n, word from t order by 1, 2")


def new_rows() -> list[Any]:
    return sorted([*OLD, *[(n, f"word {n}") for n in range(1, ROWS + 1) if n not in BAD]])


def workbook() -> bytes:
    return book(["n", "word"], *[["bad" if n in BAD else n, f"word {n}"] for n in range(1, ROWS + 1)])


@pytest.fixture
def place(own: Server, tmp_path: Path) -> Iterator[Place]:
    with short_folder() as folder, contextlib.ExitStack() as stack:
        yield Place(own, folder, FileFaults(tmp_path, [folder]), stack)


def send(service: Service, content: bytes) -> dict[str, Any]:
    """Send the workbook, and wait for the end of its run; a run that the service did not take has state `refused`."""
    answer = service.upload(content, path="/upload?wait=false", table="public.t")
    if answer.status_code != 202:
        assert 400 < answer.status_code < 600, answer.text
        assert answer.json()["error"], answer.text
        return {"state": "refused"}
    return end_of(service, answer.json()["run"]["id"])


def end_of(service: Service, run: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def ended() -> bool:
        answer = service.client.get(f"/runs/{run}")
        if answer.status_code == 200:
            found.update(answer.json()["run"])
        return found.get("state") in ENDED

    wait_for(ended, SECONDS)
    return found


def try_fault(place: Place, kind: str, at: int, content: bytes, rejects: Any) -> bool:
    """One upload with that fault, and what makes it one load; returns whether there were so many calls."""
    place.reset()
    service, faults = place.running(), place.faults
    said = len(errors_of(service))
    faults.arm(kind, at)
    run: dict[str, Any] = {"state": "refused"}
    try:
        with contextlib.suppress(httpx.TransportError):
            run = send(service, content)
    except AssertionError as exc:
        raise AssertionError(f"{kind} at {at}: {faults.hit}; {exc}; {errors_of(service)[said:]}") from exc
    faults.disarm()
    # What was under way when the last answer came is over when the next one does. The connection may be closed.
    alive = wait_for(lambda: answers(service) or service.running.process.poll() is not None) and answers(service)
    where = f"{kind} at {at}: {faults.hit}; {run}; {errors_of(service)[said:]}"
    if not alive:
        assert kind in {"kill", "kill-one"}, where
        service.running.process.wait(SECONDS)
        place.stop()
        wait_for_backends(place.own)
    elif kind not in {"kill", "kill-one"}:
        # The fork server of a killed child may say that it was left alone.
        assert "Traceback" not in errors_of(service)[said:], where
    assert place.table() in (OLD, new_rows()), where
    finish(place, run, content, where)
    assert place.table() == new_rows(), where
    assert place.own.rows("select state, count(*) from importer.runs group by 1") == [("published", 1)], where
    assert place.own.staging() == [], where
    check_kept(place, rejects, where)
    return bool(faults.hit)


def answers(service: Service) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return service.client.get("/health").status_code == 200
    return False


def finish(place: Place, run: dict[str, Any], content: bytes, where: str) -> None:
    """Do what a user does after a fault: resume what can be resumed, else send the workbook again."""
    service = place.running()
    open_runs = service.json("/runs", state="interrupted")["runs"]
    for each in open_runs:
        assert service.client.post(f"/runs/{each['id']}/resume").status_code == 202, where
        run = end_of(service, each["id"])
    if run["state"] != "done":
        run = send(service, content)
    assert run["state"] == "done", f"{where}; again: {run}"


def check_kept(place: Place, rejects: Any, where: str) -> None:
    """The service keeps the rejects of the run, no workbook, and nothing of runs that are not listed."""
    service = place.running()
    runs = service.json("/runs")["runs"]
    with_rejects = [run["links"]["rejects"] for run in runs if run["links"]["rejects"]]
    assert [rejected(service, link) for link in with_rejects] == [rejects], where
    for run in runs:
        assert service.client.delete(f"/runs/{run['id']}").status_code in {200, 204}, where
    if place.faults.was_removal and leftovers(place):
        # What could not be removed the next service removes.
        place.stop()
        place.running()
    assert leftovers(place) == [], where


def leftovers(place: Place) -> list[str]:
    return [
        str(path.relative_to(place.folder)) for name in ("uploads", "runs") for path in (place.folder / name).iterdir()
    ]


def rejected(service: Service, link: str) -> list[Any]:
    answer = service.client.get(link)
    assert answer.status_code == 200, answer.text
    with contextlib.closing(openpyxl.load_workbook(io.BytesIO(answer.content))) as found:
        return [tuple(row) for row in found.worksheets[0].iter_rows(values_only=True)]


def errors_of(service: Service) -> str:
    return (service.running.temp.parent / "err").read_text()


@pytest.mark.timeout(36_000)
def test_any_call_of_the_service(place: Place, seed: int, injected: Injected, request: pytest.FixtureRequest) -> None:
    few = request.config.getoption("--moments") or (None if request.config.getoption("--long") else 1)
    content = workbook()
    place.reset()
    service = place.running()
    place.faults.arm()
    run = send(service, content)
    assert (run["state"], place.table()) == ("done", new_rows()), run
    rejects, calls = rejected(service, run["links"]["rejects"]), place.faults.count()
    check_kept(place, rejects, "no fault")
    injected.moments = f"{calls} calls"
    step = 1 if few is None else max(1, calls // few)
    for turn, at in enumerate(range(1 + seed % step, calls + 1, step), seed):
        kind = KINDS[turn % len(KINDS)]
        injected.attempt(kind, partial(try_fault, place, kind, at, content, rejects))
    injected.check()
