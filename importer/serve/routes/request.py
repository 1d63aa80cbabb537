"""Parses requests that bring a workbook: options, workbook, body; stops their work when the caller disconnects."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from importer.serve.errors import RequestError, validation_answer
from importer.serve.http.body import Body, ClientDisconnected, read_body

from .options import InspectOptions, LoadOptions

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from starlette.requests import Request

    from importer.serve.jobs.uploads import Upload, Uploads

    from .service import Service

Options = TypeVar("Options", bound=InspectOptions)
Result = TypeVar("Result")


async def read_request(
    request: Request, service: Service, model: type[Options], *, once: bool
) -> tuple[Options, Upload, Body]:
    """Return the options, workbook and body of a request, and store a workbook that it sent.

    Args:
        request: the request, its body not yet read.
        service: parts of the service.
        model: class of the options.
        once: the workbook belongs to the run of this request alone, and is removed with it.

    Raises:
        RequestError: the body or an option is invalid, or there is no workbook.
        ClientDisconnected: the caller disconnected.
    """
    body = await read_body(request, service.config, service.uploads)
    try:
        options = _parse_options(model, request, body)
        return options, _workbook(service.uploads, options, body, once=once), body
    except BaseException:
        if body.upload is not None:
            service.uploads.drop(body.upload)
        raise


def _workbook(uploads: Uploads, options: InspectOptions, body: Body, *, once: bool) -> Upload:
    """Return the workbook that a request sent, or the upload that it names."""
    if body.upload is not None and options.upload is not None:
        raise RequestError(400, "both a file and an upload were given", kind="UsageError", choice="give one of them")
    if body.upload is not None:
        uploads.keep(body.upload, body.size, once=once)
        return body.upload
    if options.upload is None:
        raise missing_file_error()
    return uploads.get(options.upload)


def _parse_options(model: type[Options], request: Request, body: Body) -> Options:
    # Browsers send all fields of a form, empty ones too.
    query = {name: value for name, value in request.query_params.items() if value}
    if body.contract is not None and "contract" in {*query, *body.fields}:
        raise RequestError(400, "two contracts were given", kind="UsageError", place="contract", choice="give one")
    try:
        options = model.model_validate({**query, **body.fields})
    except ValidationError as exc:
        answer = validation_answer(exc.errors(include_url=False, include_input=False))
        refused = RequestError(400, answer.error, kind=answer.type, place=answer.place)
        raise refused.with_fields(details=answer.details) from None
    if isinstance(options, LoadOptions) and options.mapping is not None and options.columns is not None:
        raise RequestError(400, "a mapping already chooses the columns", kind="UsageError", place="columns",
                      choice="leave out either columns or mapping")  # fmt: skip
    return options


def missing_file_error() -> RequestError:
    """Return the error for a request without a workbook."""
    return RequestError(400, "no file was sent", kind="UsageError", place="file",
                   choice="send it as a form field 'file', as in: curl -F 'file=@data.xlsx'")  # fmt: skip


async def run_while_connected(request: Request, service: Service, work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of `work`; cancel it when the caller disconnects or the service stops.

    Raises:
        ClientDisconnected: the caller disconnected.
        RequestError: the service is stopping.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_wait_for_disconnect(request))
    stopping = asyncio.ensure_future(service.jobs.stopping.wait())
    try:
        await asyncio.wait({working, watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        if watching.done():
            raise ClientDisconnected
        raise RequestError(503, "the service is stopping", choice="try again later")
    finally:
        watching.cancel()
        stopping.cancel()
        if not working.done():
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError, RequestError):
                await working


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
