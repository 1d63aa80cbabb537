"""After kills of runs and of the server, amcheck finds no damage in any table or index: of the target, the ledger, or the catalog.

The fault modules' own servers are checked as well where they have that extension, which the embedded one does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.faults import (
    SECONDS,
    Server,
    finished,
    importing,
    kill_tree,
    machine_programs,
    own_server,
    wait_for_backends,
)
from support.holding import holding
from support.tables import save

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPTIONS = ("--chunk-rows", 100)


@pytest.fixture(scope="module")
def checked() -> Iterator[Server]:
    """A server with amcheck; that of `own` may not have it."""
    for programs in reversed(machine_programs("*")):
        version = programs.removesuffix("/bin").rpartition("/")[2].rpartition("@")[2] or programs
        with own_server(version=version) as server:
            if server.check_pages():
                yield server
                return
    pytest.skip("no PostgreSQL of this machine has the extension amcheck (Debian: the server's own package)")


def test_no_damage_after_kills(checked: Server, tmp_path: Path) -> None:
    for fault, mode in (("run", "append"), ("server", "upsert"), ("run", "replace")):
        checked.run("drop table if exists t", "create table t (id bigint primary key, name text)")
        book = save(tmp_path / f"{mode}.xlsx", ["id", "name"], *[[n, f"name {n}" * 20] for n in range(400)])
        _fail_once(checked, book, mode, fault)
        assert finished(checked, book, *OPTIONS, mode=mode).code == 0
        assert checked.rows("select count(*)::int, count(distinct id)::int from t") == [(400, 400)]
    assert checked.check_pages()


def _fail_once(server: Server, book: Path, mode: str, fault: str) -> None:
    """Kill the run, or the server under it, while it writes the third chunk."""
    with holding(server, "COPY", 3) as (wire, dsn), importing(server, book, *OPTIONS, mode=mode, dsn=dsn) as running:
        wire.wait(running)
        if fault == "run":
            kill_tree(running)
            wire.release()
            wait_for_backends(server)
        else:
            server.stop("immediate")
            wire.release()
            server.start()
            assert running.finish(SECONDS).code == 0
