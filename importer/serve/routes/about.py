"""Handles the requests about the service itself: health, session, limits, tables, contracts."""

from __future__ import annotations

import asyncio
import json
from typing import Any, get_args

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from importer.serve.errors import RequestError
from importer.serve.http.access import session_cookie_args
from importer.serve.http.body import CONTRACT_SUFFIXES, read_body
from importer.serve.jobs.database import asked
from importer.settings import Method, Mode
from importer.version import __version__

from . import models
from .openapi import failures

router = APIRouter()
#: Delay of the response to a wrong token, in seconds, to slow down guessing.
_WRONG_TOKEN_DELAY_SECONDS = 1.0
#: How long a child process may take to list tables or contracts, in seconds.
_CHILD_TIMEOUT_SECONDS = 30.0


@router.get(
    "/health", summary="Check whether the database answers",
    responses={200: {"model": models.Health}, 503: {"model": models.Unhealthy}, **failures(421)},
)  # fmt: skip
async def health(request: Request) -> Response:
    service = request.app.state.service
    error = await service.database.health(service.crew)
    if error is None:
        return JSONResponse({"status": "healthy"})
    words = {name: error[name] for name in ("error", "type", "place", "choice")}
    return JSONResponse({"status": "unhealthy", **words}, 503)


@router.get(
    "/session",
    summary="Say whether a token is needed, and whether the caller is signed in",
    responses={200: {"model": models.Session}, **failures(421)},
)
async def session(request: Request) -> Response:
    keys = request.app.state.service.keys
    return JSONResponse({"token_required": keys.required, "signed_in": keys.is_authenticated(request.headers)})


@router.post(
    "/session", summary="Sign in: exchange the token for a session cookie",
    responses={200: {"model": models.Session}, **failures(400, 401, 403, 408, 413, 421)},
    openapi_extra={"requestBody": {"required": True, "content": {
        kind: {"schema": {"type": "object", "required": ["token"], "properties": {"token": {"type": "string"}}}}
        for kind in ("application/json", "application/x-www-form-urlencoded")
    }}},
)  # fmt: skip
async def sign_in(request: Request) -> Response:
    service = request.app.state.service
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
    answer = JSONResponse({"token_required": service.keys.required, "signed_in": True})
    answer.set_cookie(**session_cookie_args(service.keys.session(), secure=_is_secure(request)))
    return answer


@router.delete("/session", summary="Sign out", responses={200: {"model": models.Session}, **failures(403, 421)})
async def sign_out(request: Request) -> Response:
    answer = JSONResponse({"token_required": request.app.state.service.keys.required, "signed_in": False})
    answer.set_cookie(**session_cookie_args(None, secure=_is_secure(request)))
    return answer


def _is_secure(request: Request) -> bool:
    """Return whether the browser uses HTTPS, directly or through a proxy in front of the service."""
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")


@router.get(
    "/about",
    summary="Show the version, the limits and the choices of options",
    responses={200: {"model": models.About}, **failures(401, 421)},
)
async def about(request: Request) -> Response:
    service = request.app.state.service
    config = service.config
    return JSONResponse({
        "version": __version__, "database": "embedded" if service.database.is_embedded else "external",
        "allow_tables": list(config.allow_tables) or None,
        "concurrency": config.concurrency, "queue": config.queue,
        "limits": {name: getattr(config, name) for name in models.Limits.model_fields},
        "methods": list(get_args(Method)), "modes": list(get_args(Mode)),
    })  # fmt: skip


@router.get(
    "/tables", summary="List the existing tables that may be loaded into",
    responses={200: {"model": models.Tables}, **failures(401, 421, 500, 503)},
)  # fmt: skip
async def tables(request: Request) -> Response:
    service = request.app.state.service
    command = {
        "op": "tables", "dsn": service.database.dsn, "patterns": service.config.allow_tables,
        "owned": service.jobs.store.owned(),
    }  # fmt: skip
    event = await asked(service.crew, command, _CHILD_TIMEOUT_SECONDS)
    return JSONResponse({"tables": event["tables"], "truncated": event["truncated"]})


@router.get(
    "/contracts", summary="List the contracts to choose from",
    responses={200: {"model": models.Contracts}, **failures(401, 421, 500, 503)},
)  # fmt: skip
async def contracts(request: Request) -> Response:
    found = await _read_contracts(request.app.state.service)
    return JSONResponse({"contracts": [{k: v for k, v in c.items() if k != "descriptor"} for c in found]})


@router.get(
    "/contracts/{name}", summary="Show a contract, as a Table Schema descriptor",
    responses={200: {"model": dict[str, Any]}, **failures(401, 404, 421, 422, 500, 503)},
)  # fmt: skip
async def contract(request: Request, name: str) -> Response:
    found = next((c for c in await _read_contracts(request.app.state.service) if c["name"] == name), None)
    if found is None:
        raise RequestError(404, "there is no such contract")
    if found["error"] is not None:
        raise RequestError(422, found["error"], kind="ContractError")
    return Response(json.dumps(found["descriptor"]), media_type="application/json")


async def _read_contracts(service: Any) -> list[dict[str, Any]]:
    files = contract_files(service.config)
    if not files:
        return []
    command = {"op": "contracts", "files": files, "hidden": [str(service.config.contracts)]}
    found: list[dict[str, Any]] = (await asked(service.crew, command, _CHILD_TIMEOUT_SECONDS))["contracts"]
    return found


def contract_files(config: Any) -> dict[str, str]:
    """Return the paths of the files in `--contracts`, by the contract names that callers use."""
    if config.contracts is None:
        return {}
    found = sorted(p for p in config.contracts.iterdir() if p.suffix.lower() in CONTRACT_SUFFIXES and p.is_file())
    return {path.stem.removesuffix(".schema"): str(path) for path in reversed(found)}
