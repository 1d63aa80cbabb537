"""Handles the requests about the service itself: health, session, limits, tables, contracts."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, get_args

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from importer.serve.errors import RequestError, model_response
from importer.serve.http.access import session_cookie_args
from importer.serve.http.body import CONTRACT_SUFFIXES, read_body
from importer.serve.jobs.database import ask_child
from importer.serve.models import child
from importer.serve.models import service as models
from importer.settings import Method, Mode
from importer.version import __version__

from .openapi import failures
from .service import CurrentService, Service

if TYPE_CHECKING:
    from importer.serve.config import Config

router = APIRouter()
#: Delay of the response to a wrong token, in seconds, to slow down guessing.
_WRONG_TOKEN_DELAY_SECONDS = 1.0
#: How long a child process may take to list tables or contracts, in seconds.
_CHILD_TIMEOUT_SECONDS = 30.0


@router.get(
    "/health", summary="Check whether the database answers",
    response_model=models.Health, responses={503: {"model": models.Unhealthy}, **failures(421)},
)  # fmt: skip
async def health(service: CurrentService) -> models.Health | Response:
    error = await service.database.health(service.children)
    if error is None:
        return models.Health(status="healthy")
    return model_response(models.Unhealthy(status="unhealthy", **error.model_dump()), 503)


@router.get(
    "/session",
    summary="Say whether a token is needed, and whether the caller is signed in",
    responses=failures(421),
)
async def session(request: Request, service: CurrentService) -> models.SessionInfo:
    keys = service.keys
    return models.SessionInfo(token_required=keys.required, signed_in=keys.is_authenticated(request.headers))


@router.post(
    "/session", summary="Sign in: exchange the token for a session cookie",
    responses=failures(400, 401, 403, 408, 413, 421),
    openapi_extra={"requestBody": {"required": True, "content": {
        kind: {"schema": {"type": "object", "required": ["token"], "properties": {"token": {"type": "string"}}}}
        for kind in ("application/json", "application/x-www-form-urlencoded")
    }}},
)  # fmt: skip
async def sign_in(request: Request, response: Response, service: CurrentService) -> models.SessionInfo:
    body = await read_body(request, service.config, service.uploads)
    if body.upload is not None:
        service.uploads.drop(body.upload)
    token = body.fields.get("token")
    if not isinstance(token, str):
        raise RequestError(400, "no token was given", kind="UsageError", place="token")
    if not service.keys.is_valid_token(token):
        await asyncio.sleep(_WRONG_TOKEN_DELAY_SECONDS)
        refused = RequestError(401, "the token is wrong", kind="TokenNeeded")
        refused.headers["WWW-Authenticate"] = 'Bearer realm="importer"'
        raise refused
    response.set_cookie(**session_cookie_args(service.keys.session(), secure=_is_secure(request)))
    return models.SessionInfo(token_required=service.keys.required, signed_in=True)


@router.delete("/session", summary="Sign out", responses=failures(403, 421))
async def sign_out(request: Request, response: Response, service: CurrentService) -> models.SessionInfo:
    response.set_cookie(**session_cookie_args(None, secure=_is_secure(request)))
    return models.SessionInfo(token_required=service.keys.required, signed_in=False)


def _is_secure(request: Request) -> bool:
    """Return whether the browser uses HTTPS, directly or through a proxy in front of the service."""
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")


@router.get(
    "/about",
    summary="Show the version, the limits and the choices of options",
    responses=failures(401, 421),
)
async def about(service: CurrentService) -> models.About:
    config = service.config
    return models.About(
        version=__version__, database="embedded" if service.database.is_embedded else "external",
        allow_tables=list(config.allow_tables) or None,
        concurrency=config.concurrency, queue=config.queue,
        limits=models.LimitsInfo.model_validate(config, from_attributes=True),
        methods=list(get_args(Method)), modes=list(get_args(Mode)),
    )  # fmt: skip


@router.get(
    "/tables", summary="List the existing tables that may be loaded into",
    responses=failures(401, 421, 500, 503),
)  # fmt: skip
async def tables(service: CurrentService) -> models.Tables:
    command = child.TablesCommand(
        dsn=service.database.dsn,
        patterns=service.config.allow_tables,
        owned=service.jobs.owned(),
        ledger=service.config.owns_ledger,
    )
    return models.Tables.model_validate(await ask_child(service.children, command, _CHILD_TIMEOUT_SECONDS))


@router.get(
    "/contracts", summary="List the contracts to choose from",
    responses=failures(401, 421, 500, 503),
)  # fmt: skip
async def contracts(service: CurrentService) -> models.Contracts:
    found = await _read_contracts(service)
    return models.Contracts(contracts=[*found])


@router.get(
    "/contracts/{name}", summary="Show a contract, as a Table Schema descriptor",
    responses={200: {"model": dict[str, Any]}, **failures(401, 404, 421, 422, 500, 503)},
)  # fmt: skip
async def contract(service: CurrentService, name: str) -> Response:
    found = next((c for c in await _read_contracts(service) if c.name == name), None)
    if found is None:
        raise RequestError(404, "there is no such contract")
    if found.error is not None:
        raise RequestError(422, found.error, kind="ContractError")
    # No model: a descriptor has any shape, and `json.dumps` escapes what is not valid Unicode in it.
    return Response(json.dumps(found.descriptor), media_type="application/json")


async def _read_contracts(service: Service) -> list[models.ReadContract]:
    files = contract_files(service.config)
    if not files:
        return []
    command = child.ContractsCommand(files=files, hidden=[str(service.config.contracts)])
    answer = await ask_child(service.children, command, _CHILD_TIMEOUT_SECONDS)
    return child.ContractsAnswer.model_validate(answer).contracts


def contract_files(config: Config) -> dict[str, str]:
    """Return the paths of the files in `--contracts`, by the contract names that callers use."""
    if config.contracts is None:
        return {}
    found = sorted(p for p in config.contracts.iterdir() if p.suffix.lower() in CONTRACT_SUFFIXES and p.is_file())
    return {path.stem.removesuffix(".schema"): str(path) for path in reversed(found)}
