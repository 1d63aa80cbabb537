"""Handles the requests that bring a workbook: uploads, inspections, checks and loads."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from importer.serve.errors import RequestError, model_response
from importer.serve.http.body import Body, ClientDisconnected, read_body
from importer.serve.jobs.commands import SENT_SUFFIX, workbook_fields
from importer.serve.jobs.database import refusal_of
from importer.serve.jobs.processes import ChildDied
from importer.serve.jobs.service_run import CANCELLED, DONE, ServiceRun
from importer.serve.models import run as run_models
from importer.serve.models import workbook as workbook_models
from importer.serve.models.child import ErrorEvent, InspectCommand
from importer.serve.models.service import Message

from .about import contract_files
from .openapi import failures, request_body
from .options import InspectOptions, LoadOptions
from .request import missing_file_error, read_request, run_while_connected
from .runs import run_accepted
from .service import CurrentService, Service

if TYPE_CHECKING:
    from importer.serve.config import Config
    from importer.serve.jobs.uploads import Upload

router = APIRouter()
#: Number of inspections cached per upload, for mappings.
_MAX_CACHED_INSPECTIONS = 4
_BODY_STATUSES = (400, 401, 403, 404, 408, 413, 421, 422, 429, 500, 503, 507)


# ---- UPLOADS ----------------------------------------------------------------------------------------------------


@router.post(
    "/uploads", status_code=201, summary="Upload a workbook; later requests refer to it by its id",
    responses=failures(400, 401, 403, 408, 413, 421, 429, 503, 507), openapi_extra=request_body(None),
)  # fmt: skip
async def upload_only(request: Request, service: CurrentService) -> workbook_models.UploadAnswer:
    body = await read_body(request, service.config, service.uploads)
    if body.upload is None:
        raise missing_file_error()
    service.uploads.keep(body.upload, body.size, once=False)
    return workbook_models.UploadAnswer(upload=service.uploads.describe(body.upload))


@router.delete(
    "/uploads/{upload_id}", summary="Remove an uploaded workbook",
    responses=failures(401, 403, 404, 421),
)  # fmt: skip
async def remove_upload(service: CurrentService, upload_id: str) -> Message:
    service.uploads.remove(service.uploads.get(upload_id).id)
    return Message(message="removed")


# ---- INSPECT ----------------------------------------------------------------------------------------------------


@router.post(
    "/inspect", summary="Inspect a workbook: sheets, header, columns, kinds, first rows, problems",
    responses=failures(*_BODY_STATUSES), openapi_extra=request_body(InspectOptions),
)  # fmt: skip
async def inspect(
    request: Request, service: CurrentService, query: Annotated[InspectOptions, Query()]  # noqa: ARG001 - `read_request` reads it together with the body
) -> workbook_models.InspectionInfo:  # fmt: skip
    limit = service.config.concurrency + service.config.queue
    if service.waiting >= limit:
        raise RequestError(429, f"{service.waiting} inspections are waiting already", kind="QueueFull",
                      choice="try again later", retry_after=5)  # fmt: skip
    service.waiting += 1
    try:
        options, upload, _ = await read_request(request, service, InspectOptions, once=False)
        found = await run_while_connected(request, service, _run_inspection(service, options, upload))
    finally:
        service.waiting -= 1
    return workbook_models.InspectionInfo.model_validate({**found, "upload": service.uploads.describe(upload)})


async def _run_inspection(service: Service, options: InspectOptions, upload: Upload) -> dict[str, Any]:
    """Return the fields of an `InspectAnswer`."""
    user = secrets.token_hex(8)
    service.uploads.acquire(upload.id, user)
    try:
        async with service.reading, asyncio.timeout(service.config.seconds), service.children.child() as child:
            fields = workbook_fields(service.config, child.scratch, upload)
            event = await child.work(InspectCommand(**fields, options=options.given()))
    except TimeoutError:
        raise RequestError(422, f"not done within {service.config.seconds:g} s", kind="TimedOut",
                      choice="send a smaller workbook") from None  # fmt: skip
    except ChildDied as exc:
        by_others = "SIGKILL" in exc.how  # also by a system that is short of memory
        status, kind = (503, "ReaderKilled") if by_others else (422, "ReaderDied")
        choice = "send it again" if by_others else None
        raise RequestError(status, f"the process that read the workbook {exc.how}", kind=kind, choice=choice) from None
    finally:
        service.uploads.release(upload.id, user)
    if isinstance(event, ErrorEvent):
        raise refusal_of(event.error).with_fields(upload=service.uploads.describe(upload))
    while len(upload.inspections) >= _MAX_CACHED_INSPECTIONS:
        upload.inspections.pop(next(iter(upload.inspections)))
    upload.inspections[_inspection_key(options)] = workbook_models.InspectedSheet.model_validate(event.answer)
    return event.answer


def _inspection_key(options: InspectOptions) -> str:
    """Return the cache key of an inspection: the options that its result depends on."""
    kept = options.model_dump(include=set(InspectOptions.model_fields) - {"upload"})
    return json.dumps(kept, sort_keys=True)


# ---- CHECK AND LOAD ---------------------------------------------------------------------------------------------

_RUN_RESPONSES: dict[int | str, dict[str, Any]] = {
    202: {"model": run_models.RunAccepted}, **failures(*_BODY_STATUSES, 409),
}  # fmt: skip


@router.post(
    "/check", summary="Do everything that a load does, then roll it back",
    response_model=run_models.Result, responses=_RUN_RESPONSES, openapi_extra=request_body(LoadOptions),
)  # fmt: skip
async def check(
    request: Request, service: CurrentService, query: Annotated[LoadOptions, Query()]  # noqa: ARG001
) -> run_models.Result | Response:  # fmt: skip
    return await _run(request, service, "check")


@router.post(
    "/upload", summary="Load a workbook into a table: all of it or nothing",
    response_model=run_models.Result, responses=_RUN_RESPONSES, openapi_extra=request_body(LoadOptions),
)  # fmt: skip
async def upload(
    request: Request, service: CurrentService, query: Annotated[LoadOptions, Query()]  # noqa: ARG001
) -> run_models.Result | Response:  # fmt: skip
    return await _run(request, service, "upload")


async def _run(request: Request, service: Service, kind: run_models.Kind) -> run_models.Result | Response:
    service.jobs.check_room()
    options, workbook, body = await read_request(request, service, LoadOptions, once=kind == "upload")
    try:
        run = ServiceRun(kind, workbook.id, workbook.name, workbook.size, _run_options(options))
        files = _run_files(service.config, options, body, workbook)
        service.jobs.submit(run, workbook, files)
    except BaseException:
        if body.upload is not None:
            service.uploads.drop(body.upload)
        raise
    shown = None if workbook.once else service.uploads.describe(workbook)
    if not options.wait:
        answer = run_accepted(service, run, shown)
        return model_response(answer, 202, {"Location": answer.links.run})
    if kind == "check":
        try:
            await run_while_connected(request, service, service.jobs.over(run))
        except ClientDisconnected:
            await service.jobs.cancel(run)
            raise
    else:
        await service.jobs.over(run)
    return _result(run, shown)


def _run_options(options: LoadOptions) -> dict[str, Any]:
    """Return the options that a run stores and reports; the contract is not among them."""
    given = options.given()
    mapping = options.parse_mapping()
    return given if mapping is None else given | {"mapping": mapping}


def _result(run: ServiceRun, upload: workbook_models.UploadInfo | None) -> run_models.Result:
    """Return the response for an ended run.

    Raises:
        RequestError: the run failed or was cancelled.
    """
    shown = run.describe()
    if run.state == CANCELLED:
        raise RequestError(409, "the run was cancelled", kind="Cancelled").with_fields(run=shown)
    if run.state != DONE:
        assert run.error is not None
        raise refusal_of(run.error).with_fields(run=shown)
    # The model takes message, statistics and links from the run itself, and ignores the rest.
    return run_models.Result.model_validate({**dict(shown), "run_id": run.id, "upload": upload, "run": shown})


def _run_files(config: Config, options: LoadOptions, body: Body, workbook: Upload) -> dict[str, bytes]:
    """Return the files that a run needs, by name: its contract, and the inspection that its mapping refers to."""
    files = {}
    if body.contract is not None:
        suffix, content = body.contract
        files[f"contract{SENT_SUFFIX}{suffix}"] = content
    elif options.contract is not None and options.contract.lstrip().startswith("{"):
        files[f"contract{SENT_SUFFIX}.json"] = options.contract.encode()
    elif options.contract is not None:
        path = contract_files(config).get(options.contract)
        if path is None:
            raise RequestError(400, "there is no such contract", kind="UsageError", place="contract",
                          choice="name one that /contracts lists")  # fmt: skip
        files["contract" + Path(path).suffix.lower()] = Path(path).read_bytes()
    found = workbook.inspections.get(_inspection_key(options))
    if options.mapping is not None and found is not None:
        files["inspected.json"] = json.dumps(found.model_dump()).encode()
    return files
