"""Owns the folder in which the imports of a command share copies of sources at addresses: each is made once."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from importer.remote.local_copy import forget_copy
from importer.runtime.locked_folder import LockedFolder
from importer.urls import as_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from importer.batch.import_spec import ImportSpec
    from importer.batch.report import ImportReport


@contextlib.contextmanager
def shared_folder(sources: Sequence[str], temp_dir: str | Path | None) -> Iterator[Path | None]:
    """Yield a folder that is removed when the block ends; None if no source is at an address."""
    if not any(map(as_url, sources)):
        yield None
        return
    with LockedFolder(Path(temp_dir) if temp_dir else None) as folder:
        yield folder.path


def forget_copies_after(
    on_report: Callable[[ImportReport], None], specs: Sequence[ImportSpec], folder: Path | None
) -> Callable[[ImportReport], None]:
    """Return what removes the copy of a source once all of its imports have ended, and then passes their reports on."""
    if folder is None:
        return on_report
    left = Counter(spec.shown_source for spec in specs)

    def forget(report: ImportReport) -> None:
        left[report.source] -= 1
        if not left[report.source]:
            # Two addresses may be shown alike; then both are done.
            for url in {as_url(spec.source) for spec in specs if spec.shown_source == report.source}:
                if url is not None:
                    forget_copy(url, folder)
        on_report(report)

    return forget
