"""Handles the requests about runs: list, show, cancel, resume, report, rejects and events."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.responses import FileResponse, Response, StreamingResponse

from importer.serve.errors import RequestError
from importer.serve.jobs.run import RUNNING

from . import run_models
from .openapi import failures
from .service import CurrentService, Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from importer.serve.jobs.queue import Jobs
    from importer.serve.jobs.run import Run

    from .workbook_models import UploadWords

router = APIRouter()
#: Shortest time between two events, and longest time without a keep-alive, in seconds.
_MIN_EVENT_INTERVAL_SECONDS, _KEEPALIVE_SECONDS = 0.2, 15.0
_MAX_LISTENERS = 128
_XLSX_MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_EVENT_SCHEMA = {
    "type": "object", "required": ["event", "data"], "description": "one event; `data` is JSON",
    "properties": {"event": {"enum": ["progress", "note", "end"]}, "data": {"type": "string"}},
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

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]


@router.get(
    "/runs", summary="List runs, newest first", responses=failures(400, 401, 421),
    # Options can be long; `/runs/{run_id}` has them.
    response_model_exclude={"runs": {"__all__": {"options"}}},
)  # fmt: skip
async def list_runs(
    service: CurrentService,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    before: Annotated[str | None, Query(max_length=40, description="list only runs created before this time")] = None,
    state: Annotated[State | None, Query()] = None,
) -> run_models.Runs:
    jobs = service.jobs
    found = jobs.store.page(limit + 1, before, state)
    runs = [_run_words(jobs, jobs.find(stored["id"])) for stored in found[:limit]]
    return run_models.Runs(runs=runs, more=len(found) > limit)


@router.get(
    "/runs/{run_id}",
    summary="Show a run and its report",
    responses=failures(401, 404, 421),
)
async def show_run(service: CurrentService, run_id: str) -> run_models.RunAnswer:
    jobs = service.jobs
    run = jobs.find(run_id)
    return run_models.RunAnswer(run=_run_words(jobs, run), report=jobs.store.report(run.id))


@router.delete(
    "/runs/{run_id}", summary="Cancel a run, or remove an ended one from the list",
    responses=failures(401, 403, 404, 421),
)  # fmt: skip
async def cancel_run(service: CurrentService, run_id: str) -> run_models.RunDone:
    jobs = service.jobs
    run = jobs.find(run_id)
    message = await jobs.cancel(run)
    return run_models.RunDone(message=message, run=_run_words(jobs, run))


@router.post(
    "/runs/{run_id}/resume", status_code=202, summary="Resume an interrupted run",
    responses=failures(401, 403, 404, 409, 421, 429, 503),
)  # fmt: skip
async def resume_run(service: CurrentService, response: Response, run_id: str) -> run_models.RunAccepted:
    run = service.jobs.find(run_id)
    service.jobs.resume(run)
    answer = run_accepted(service, run, None)
    response.headers["Location"] = answer.links.run
    return answer


@router.get(
    "/runs/{run_id}/report", summary="Show the report of a run: where every cell went",
    responses=failures(401, 404, 421),
)  # fmt: skip
async def show_report(service: CurrentService, run_id: str) -> dict[str, Any]:
    jobs = service.jobs
    report = jobs.store.report(jobs.find(run_id).id)
    if report is None:
        raise RequestError(404, "the run has no report, or none yet")
    return report


def _run_words(jobs: Jobs, run: Run) -> run_models.RunWords:
    return run_models.RunWords.model_validate(jobs.words(run))


def run_accepted(service: Service, run: Run, upload: UploadWords | None) -> run_models.RunAccepted:
    """Return the answer for a run that was queued; upload: the workbook, if later requests can refer to it."""
    words = _run_words(service.jobs, run)
    return run_models.RunAccepted(message=run.state, run=words, links=words.links, upload=upload)


# ---- REJECTS ----------------------------------------------------------------------------------------------------


@router.get(
    "/runs/{run_id}/rejects", summary="List the first bad cells, with their addresses",
    responses=failures(400, 401, 404, 421),
)  # fmt: skip
async def bad_cells(
    service: CurrentService, run_id: str, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> run_models.BadCells:  # fmt: skip
    jobs = service.jobs
    path = jobs.folder(jobs.find(run_id).id) / "bad_cells.json"
    try:
        found = run_models.BadCells.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RequestError(404, "the run has no rejects, or none yet") from None
    truncated = found.truncated or len(found.cells) > limit
    return run_models.BadCells(rows=found.rows, cells=found.cells[:limit], truncated=truncated)


@router.get(
    "/runs/{run_id}/rejects.xlsx", summary="Download the rejected rows as a workbook, to fix and upload again",
    response_class=Response, responses={200: _REJECTS_RESPONSE, **failures(401, 404, 421)},
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
    response_class=StreamingResponse, responses={200: _EVENTS_RESPONSE, **failures(401, 404, 421, 429)},
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


async def _stream_events(jobs: Jobs, run: Run) -> AsyncIterator[str]:
    listener = object()
    _listeners.add(listener)
    try:
        told, notes = None, 0
        while not run.is_over:
            bell = run.bell
            for text in run.notes[notes:]:
                yield _format_event("note", {"text": text})
            notes = len(run.notes)
            words = jobs.words(run)
            now = {name: words[name] for name in ("state", "queue_position", "progress")}
            if now != told:
                yield _format_event("progress", now)
                told = now
            try:
                await asyncio.wait_for(bell.wait(), _KEEPALIVE_SECONDS)
            except TimeoutError:
                yield ": keep-alive\n\n"
            if run.state == RUNNING:
                await asyncio.sleep(_MIN_EVENT_INTERVAL_SECONDS)
        yield _format_event("end", {"run": jobs.words(run)})
    finally:
        _listeners.discard(listener)


def _format_event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
