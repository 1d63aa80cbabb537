"""Builds the commands for children that work on a workbook."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from importer.serve.models.child import ChildLimits, LoadCommand, OwnedTable
from importer.serve.models.workbook import InspectedSheet

if TYPE_CHECKING:
    from pathlib import Path

    from importer.serve.config import Config

    from .database import Database
    from .service_run import ServiceRun
    from .uploads import Upload


#: Suffix in the file name of a contract that a caller sent; contracts without it are the operator's.
SENT_SUFFIX = ".sent"

#: Options whose texts are lists.
_LISTS = ("columns", "key", "null")


def load_command(
    config: Config, database: Database, owned: list[OwnedTable], run: ServiceRun, upload: Upload, scratch: Path
) -> LoadCommand:
    """Return the command for a child that loads or checks a workbook.

    Args:
        config: configuration of the service.
        database: target database.
        owned: tables that the service created.
        run: run to execute.
        upload: upload that holds its workbook.
        scratch: folder of the child's temporary files.
    """
    folder = config.run_folder(run.id)
    options = {k: v for k, v in run.options.items() if k not in {"contract", *_LISTS}}
    options |= {k: run.options[k].split(",") for k in _LISTS if run.options.get(k)}
    contract = next(iter(sorted(folder.glob("contract.*"))), None)
    if contract is not None:
        options["contract"] = str(contract)
    inspected = folder / "inspected.json"
    return LoadCommand(
        **workbook_fields(config, scratch, upload, folder), options=options,
        dsn=database.dsn, dry_run=run.kind == "check", rejects=str(folder / "rejects.xlsx"),
        bad_cells=str(folder / "bad_cells.json"), contract_file=str(folder / "mapped.json"),
        patterns=config.allow_tables, owned=owned, ledger=config.owns_ledger, begun=run.begun,
        retry_for=config.retry_for, seconds=config.seconds,
        inspected=InspectedSheet.model_validate(json.loads(inspected.read_bytes())) if inspected.is_file() else None,
    )  # fmt: skip


def workbook_fields(config: Config, scratch: Path, upload: Upload, folder: Path | None = None) -> dict[str, Any]:
    """Return the fields that all commands that read a workbook share, but for its options: see `WorkbookCommand`."""
    hidden = [upload.path.parent, scratch, folder, config.folder, config.contracts]
    return {
        "workbook": str(upload.path),
        "limits": ChildLimits(
            part_bytes=config.inflated_bytes, columns=config.columns, memory_bytes=config.memory_bytes
        ),
        "rows": config.rows, "workers": config.workers,
        "scratch": str(scratch), "hidden": [str(path) for path in hidden if path],
    }  # fmt: skip
