"""Finds the folder in which the embedded server and the service keep their data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def data_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder of the embedded server's data: IMPORTER_DATA_DIR, else the user's data directory."""
    env = os.environ if environ is None else environ
    given = env.get("IMPORTER_DATA_DIR")
    if given:
        return Path(given).expanduser().resolve()
    import platformdirs

    return Path(platformdirs.user_data_dir("importer", appauthor=False))
