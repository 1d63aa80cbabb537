"""Names the rejects files of many imports: beside the workbooks, in one folder, or one workbook for several."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from importer.errors import UsageError
from importer.excel.rejects_origin import original_stem
from importer.sources.stdin import is_from_stdin
from importer.table.labels import to_identifier
from importer.urls import Url, as_url, file_name, hide_secrets, path_or_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from importer.batch.import_spec import ImportSpec


def shared_workbook(options: dict[str, Any]) -> Path | Url | None:
    """Return the workbook that the rejects of several imports go to; None where `rejects` names a folder, or nothing.

    Raises:
        UsageError: it names a file that is no workbook.
    """
    given = options.get("rejects")
    if given is None:
        return None
    place = path_or_url(str(given))
    is_folder = place.is_folder if isinstance(place, Url) else str(given).endswith("/") or place.is_dir()
    if is_folder or not place.suffix:
        return None
    if place.suffix.lower() != ".xlsx":
        raise UsageError(
            f"the rejects of several imports do not fit into one {place.suffix}",
            place=hide_secrets(str(given)),
            choice="--rejects FILE.xlsx, a workbook with a sheet for each; --rejects FOLDER/; or leave it out",
        )
    return place if isinstance(place, Url) else Path(os.path.abspath(place))  # noqa: PTH100 - may be a symbolic link


def check_no_source(rejects: Path | Url | None, sources: Sequence[str]) -> None:
    """Raise UsageError if the workbook of the rejects would replace one that is to be loaded."""
    if rejects is not None and any(is_same_place(source, rejects) for source in sources):
        raise UsageError(
            "the rejects would overwrite the workbook", place=str(rejects), choice="another --rejects FILE"
        )


def is_same_place(source: str, place: Path | Url) -> bool:
    """Return whether a source is the file at a place."""
    url = as_url(source)
    if url or isinstance(place, Url):
        return place == url
    return os.path.realpath(source) == os.path.realpath(place)


def with_rejects_names(specs: list[ImportSpec]) -> tuple[ImportSpec, ...]:
    """Return the imports with names for their rejects files: beside the workbooks, or in the folder `rejects`.

    Those of workbooks at addresses and of standard input are in the current folder, unless a folder is given. No two
    imports get the same name: a sheet is added where a workbook has several, and the workbook's folder where two have
    the same name. Imports whose rejects go into one workbook need none, and those that were planned have theirs.
    """
    per_source = Counter(spec.source for spec in specs)
    per_stem = Counter(_stem(source) for source in per_source)
    taken: set[Path | Url] = set()
    named = []
    for spec in specs:
        if shared_workbook(spec.options) is not None:
            named.append(spec)
            continue
        planned = spec.options.get("default_rejects")
        if planned is not None and spec.options.get("rejects") is None and path_or_url(planned) not in taken:
            taken.add(path_or_url(planned))
            named.append(spec)
            continue
        options = dict(spec.options)
        folder, url, stem = options.pop("rejects", None), as_url(spec.source), _stem(spec.source)
        source = Path(url.path) if url else Path(spec.source).absolute()
        is_apart = url is not None or is_from_stdin(spec.source)
        if (folder is not None or is_apart) and per_stem[stem] > 1:
            stem = f"{source.parent.name}_{stem}"
        if per_source[spec.source] > 1:
            stem = f"{stem}_{to_identifier(spec.sheet or '') or 'sheet'}"
        parent = as_url(folder) or Path(folder or ("" if is_apart else Path(spec.source).parent))
        name = next(n for n in _numbered(stem) if _in(parent, n) not in taken)
        taken.add(_in(parent, name))
        place = _in(parent, f"{name}.rejects.xlsx")
        named.append(replace(spec, options={**options, "default_rejects": getattr(place, "text", str(place))}))
    return tuple(named)


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    yield from (f"{stem}_{number}" for number in itertools.count(2))


def _in(folder: Path | Url, name: str) -> Path | Url:
    return folder.joined(name) if isinstance(folder, Url) else folder / name


def _stem(source: str) -> str:
    return original_stem(Path(file_name(source)).stem)
