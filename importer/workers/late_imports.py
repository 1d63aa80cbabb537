"""Postpones modules that a library imports and that no import of a workbook needs, until one of their names is used."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import LazyLoader
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

#: Polars imports it for one error message, and with it the standard library's email and zipfile: a tenth of what polars
#: takes to import, 15 ms.
_LATE = "importlib.metadata"


class _LateFinder:
    """Finds a module whose code runs when one of its attributes is first used.

    The interpreter uses one when the module is imported again, so the second who imports it has it loaded.
    """

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == _LATE else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def import_metadata_late() -> None:
    """Let `importlib.metadata` be loaded when it is first used."""
    sys.meta_path.insert(0, _LateFinder)
