"""Holds the parts of the service that the routes use, and gives them to a route as a dependency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends
from starlette.requests import Request  # noqa: TC002 - FastAPI reads the annotations

if TYPE_CHECKING:
    import asyncio

    from importer.serve.config import Config
    from importer.serve.http.access import Authenticator
    from importer.serve.jobs.database import Database
    from importer.serve.jobs.processes import ChildPool
    from importer.serve.jobs.queue import Jobs
    from importer.serve.jobs.uploads import Uploads


@dataclass
class Service:
    """The parts of the service that the routes use.

    Attributes:
        reading: semaphore that limits the inspections running at the same time.
        waiting: number of inspection requests that wait or run.
    """

    config: Config
    keys: Authenticator
    database: Database
    children: ChildPool
    uploads: Uploads
    jobs: Jobs
    reading: asyncio.Semaphore
    waiting: int = 0


async def _get_service(request: Request) -> Service:
    # Asynchronous although nothing is awaited: FastAPI would call a plain function in a thread.
    service: Service = request.app.state.service
    return service


CurrentService = Annotated[Service, Depends(_get_service)]
