"""A server of its own for each module of faults: it is crashed, restarted and configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.faults import own_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.faults import Server


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    with own_server() as made:
        yield made
