"""Handles the requests about runs: list, show, cancel, resume, report, rejects and events."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.responses import FileResponse, Response, StreamingResponse

from importer.serve.errors import RequestError
from importer.serve.jobs.service_run import RUNNING
from importer.serve.models import events as event_models
from importer.serve.models import run as models

from .openapi import failures, schema_ref
from .service import CurrentService, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic import BaseModel

    from importer.serve.jobs.queue import Jobs
    from importer.serve.jobs.service_run import ServiceRun
    from importer.serve.models.workbook import UploadInfo

router = APIRouter()
#: Shortest time between two events, and longest time without a keep-alive, in seconds.
_MIN_EVENT_INTERVAL_SECONDS, _KEEPALIVE_SECONDS = 0.2, 15.0
_MAX_LISTENERS = 128
_XLSX_MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_EVENT_SCHEMA = {
    "type": "object", "required": ["event", "data"], "description": "one event; `data` is JSON",
    "properties": {"event": {"enum": [*event_models.EVENTS]}, "data": {
        "type": "string", "contentMediaType": "application/json",
        "contentSchema": {"anyOf": [schema_ref(model) for model in event_models.EVENTS.values()]},
    }},
}  # fmt: skip
_EVENTS_RESPONSE = {
    "content": {"text/event-stream": {"schema": _EVENT_SCHEMA}},
    "description": "the progress of the run, until it ends",
}
_REJECTS_RESPONSE = {
    "content": {_XLSX_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    "description": "the rejects workbook",
}
_listeners: set[object] = set()


@router.get(
    "/runs", summary="List runs, newest first", responses=failures(400, 401, 421, 503),
    # Options can be long; `/runs/{run_id}` has them.
    response_model_exclude={"runs": {"__all__": {"options"}}},
)  # fmt: skip
async def list_runs(
    service: CurrentService,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    before: Annotated[str | None, Query(max_length=40, description="list only runs created before this time")] = None,
    state: Annotated[models.State | None, Query()] = None,
) -> models.Runs:
    jobs = service.jobs
    found = jobs.page(limit + 1, before, state)
    runs = [jobs.describe(run) for run in found[:limit]]
    return models.Runs(runs=runs, more=len(found) > limit)


@router.get(
    "/runs/{run_id}",
    summary="Show a run and its report",
    responses=failures(401, 404, 421, 503),
)
async def show_run(service: CurrentService, run_id: str) -> models.RunAnswer:
    jobs = service.jobs
    run = jobs.find(run_id)
    return models.RunAnswer(run=jobs.describe(run), report=jobs.report(run))


@router.delete(
    "/runs/{run_id}", summary="Cancel a run, or remove an ended one from the list",
    responses=failures(401, 403, 404, 421, 503),
)  # fmt: skip
async def cancel_run(service: CurrentService, run_id: str) -> models.RunDone:
    jobs = service.jobs
    run = jobs.find(run_id)
    message = await jobs.cancel(run)
    return models.RunDone(message=message, run=jobs.describe(run))


@router.post(
    "/runs/{run_id}/resume", status_code=202, summary="Resume an interrupted run",
    responses=failures(401, 403, 404, 409, 421, 429, 503),
)  # fmt: skip
async def resume_run(service: CurrentService, response: Response, run_id: str) -> models.RunAccepted:
    run = service.jobs.find(run_id)
    service.jobs.resume(run)
    answer = run_accepted(service, run, None)
    response.headers["Location"] = answer.links.run
    return answer


@router.get(
    "/runs/{run_id}/report", summary="Show the report of a run: where every cell went",
    responses=failures(401, 404, 421, 503),
)  # fmt: skip
async def show_report(service: CurrentService, run_id: str) -> dict[str, Any]:
    jobs = service.jobs
    report = jobs.report(jobs.find(run_id))
    if report is None:
        raise RequestError(404, "the run has no report, or none yet")
    return report


def run_accepted(service: Service, run: ServiceRun, upload: UploadInfo | None) -> models.RunAccepted:
    """Return the answer for a run that was queued; upload: the workbook, if later requests can refer to it."""
    shown = service.jobs.describe(run)
    return models.RunAccepted(message=run.state, run=shown, links=shown.links, upload=upload)


# ---- REJECTS ----------------------------------------------------------------------------------------------------


@router.get(
    "/runs/{run_id}/rejects", summary="List the first bad cells, with their addresses",
    responses=failures(400, 401, 404, 421, 503),
)  # fmt: skip
async def bad_cells(
    service: CurrentService, run_id: str, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> models.BadCells:  # fmt: skip
    jobs = service.jobs
    path = jobs.folder(jobs.find(run_id).id) / "bad_cells.json"
    try:
        found = models.BadCells.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RequestError(404, "the run has no rejects, or none yet") from None
    truncated = found.truncated or len(found.cells) > limit
    return models.BadCells(rows=found.rows, cells=found.cells[:limit], truncated=truncated)


@router.get(
    "/runs/{run_id}/rejects.xlsx", summary="Download the rejected rows as a workbook, to fix and upload again",
    response_class=Response, responses={200: _REJECTS_RESPONSE, **failures(401, 404, 421, 503)},
)  # fmt: skip
async def rejects(service: CurrentService, run_id: str) -> Response:
    jobs = service.jobs
    run = jobs.find(run_id)
    path = jobs.folder(run.id) / "rejects.xlsx"
    if not run.is_over or not path.is_file():
        raise RequestError(404, "the run has no rejects, or none yet")
    stem = re.sub(r"(\.rejects(-\d+)?)?\.[^.]*$", "", run.workbook) or "workbook"
    name = f"{stem}.rejects.xlsx"
    plain = re.sub(r"[^A-Za-z0-9 ._-]", "_", name)
    headers = {"Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"}
    return FileResponse(path, media_type=_XLSX_MEDIA_TYPE, headers=headers)


# ---- EVENTS -----------------------------------------------------------------------------------------------------


@router.get(
    "/runs/{run_id}/events", summary="Follow the progress of a run as server-sent events",
    response_class=StreamingResponse, responses={200: _EVENTS_RESPONSE, **failures(401, 404, 421, 429, 503)},
)  # fmt: skip
async def events(service: CurrentService, run_id: str) -> Response:
    jobs = service.jobs
    run = jobs.find(run_id)
    if len(_listeners) >= _MAX_LISTENERS:
        raise RequestError(
            429, "too many clients follow events already", choice="poll /runs/{run_id} instead", retry_after=5
        )
    return StreamingResponse(
        _stream_events(jobs, run), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


async def _stream_events(jobs: Jobs, run: ServiceRun) -> AsyncIterator[str]:
    listener = object()
    _listeners.add(listener)
    try:
        sent, notes = None, 0
        while not run.is_over:
            changed = run.changed
            for text in run.notes[notes:]:
                yield _format_event("note", event_models.NoteEvent(text=text))
            notes = len(run.notes)
            shown = jobs.describe(run)
            now = event_models.ProgressEvent(
                state=shown.state, queue_position=shown.queue_position, progress=shown.progress
            )
            if now != sent:
                yield _format_event("progress", now)
                sent = now
            try:
                await asyncio.wait_for(changed.wait(), _KEEPALIVE_SECONDS)
            except TimeoutError:
                yield ": keep-alive\n\n"
            if run.state == RUNNING:
                await asyncio.sleep(_MIN_EVENT_INTERVAL_SECONDS)
        yield _format_event("end", event_models.EndEvent(run=jobs.describe(run)))
    finally:
        _listeners.discard(listener)


def _format_event(name: str, data: BaseModel) -> str:
    return f"event: {name}\ndata: {json.dumps(data.model_dump(mode='json'))}\n\n"
