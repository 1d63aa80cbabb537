"""Names the operations that a child can be asked for."""

from __future__ import annotations

from typing import Any

from .inspect import inspect
from .load import load
from .questions import contracts, forget_run, ping, tables

OPERATIONS: dict[str, Any] = {
    "load": load, "inspect": inspect, "tables": tables, "ping": ping, "forget": forget_run, "contracts": contracts,
}  # fmt: skip
