"""Builds the application: its parts, its routes, and the responses to errors in requests."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from importer.serve.http.access import Authenticator
from importer.serve.http.body import ClientDisconnected
from importer.serve.jobs.processes import ChildPool
from importer.serve.jobs.queue import Jobs
from importer.serve.jobs.uploads import Uploads
from importer.serve.models.service import ErrorAnswer
from importer.serve.routes.openapi import complete
from importer.serve.routes.service import Service
from importer.version import __version__

from .errors import RequestError, StoreFailed, machine_refusal, model_response, validation_answer
from .http import pages
from .routes import about as routes_about
from .routes import runs as routes_runs
from .routes import work as routes_work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from importer.serve.jobs.database import Database
    from importer.serve.jobs.store import Store

    from .config import Config

#: Interval between two removals of expired uploads and runs, in seconds.
_EXPIRE_INTERVAL_SECONDS = 60.0


def make_app(config: Config, database: Database, store: Store) -> FastAPI:
    """Return the application; the caller has locked the service's folder, started the database and opened the store."""
    uploads, children = Uploads(config), ChildPool(config.scratch, config.concurrency)
    jobs = Jobs(config, store, uploads, children, database)
    keys = Authenticator(config.token)
    service = Service(config, keys, database, children, uploads, jobs, asyncio.Semaphore(config.concurrency))

    app = FastAPI(
        title="importer", version=__version__, lifespan=lambda _: _running(service), docs_url=None, redoc_url=None,
        description="Loads Excel workbooks into PostgreSQL tables, and accounts for every cell.",
        separate_input_output_schemas=False,
    )  # fmt: skip
    app.state.service = service
    for routes in (routes_work, routes_runs, routes_about):
        app.include_router(routes.router)
    pages.add_pages(app)
    build_document = app.openapi
    app.openapi = functools.cache(lambda: complete(build_document()))  # type: ignore[method-assign]
    _add_error_handlers(app)
    return app


@contextlib.asynccontextmanager
async def _running(service: Service) -> AsyncIterator[None]:
    """Run the queue, the children and what removes expired things while the application serves."""
    service.jobs.load()
    await service.children.start()
    beside = [asyncio.create_task(each) for each in (_expire_periodically(service), service.jobs.save_rest())]
    try:
        yield
    finally:
        for task in beside:
            task.cancel()
        await service.jobs.stop()
        await service.children.stop()


async def _expire_periodically(service: Service) -> None:
    while True:
        await asyncio.sleep(_EXPIRE_INTERVAL_SECONDS)
        service.uploads.expire()
        with contextlib.suppress(StoreFailed):
            await service.jobs.prune()


def _add_error_handlers(app: FastAPI) -> None:
    """Register handlers that turn every error into a response of the same shape."""

    async def refused(_: Request, exc: Any) -> Response:
        return model_response(exc.answer, exc.status, exc.headers)

    async def gone(_: Request, _exc: Any) -> Response:
        return Response(status_code=400)  # the client is gone; nobody reads it

    async def machine(_: Request, exc: Any) -> Response:
        error = machine_refusal(exc)
        return model_response(error.answer, error.status, error.headers)

    async def invalid(_: Request, exc: Any) -> Response:
        return model_response(validation_answer(exc.errors()), 400)

    async def http(_: Request, exc: Any) -> Response:
        answer = ErrorAnswer(error=str(exc.detail).lower(), type="HTTPError", place=None, choice=None)
        return model_response(answer, exc.status_code, exc.headers)

    async def unexpected(_: Request, exc: Exception) -> Response:
        error = f"unexpected {type(exc).__name__}"
        return model_response(ErrorAnswer(error=error, type="ServiceError", place=None, choice=None), 500)

    app.add_exception_handler(RequestError, refused)
    app.add_exception_handler(OSError, machine)
    app.add_exception_handler(ClientDisconnected, gone)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)
