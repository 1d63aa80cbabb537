"""The service answers as its OpenAPI document says, whatever it is sent; never with a fault of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.serving import book

from importer.serve.routes import about, runs, work

if TYPE_CHECKING:
    from support.serving import Service

CHECKS = [
    schemathesis.checks.not_a_server_error, status_code_conformance, content_type_conformance,
    response_headers_conformance, response_schema_conformance,
]  # fmt: skip
OPERATIONS = [
    ("GET", "/health"), ("GET", "/session"), ("POST", "/session"), ("DELETE", "/session"), ("GET", "/about"),
    ("GET", "/tables"), ("GET", "/contracts"), ("GET", "/contracts/{name}"),
    ("POST", "/uploads"), ("DELETE", "/uploads/{upload_id}"), ("POST", "/inspect"), ("POST", "/check"), ("POST", "/upload"),
    ("GET", "/runs"), ("GET", "/runs/{run_id}"), ("DELETE", "/runs/{run_id}"), ("POST", "/runs/{run_id}/resume"),
    ("GET", "/runs/{run_id}/report"), ("GET", "/runs/{run_id}/rejects"), ("GET", "/runs/{run_id}/rejects.xlsx"),
    ("GET", "/runs/{run_id}/events"),
]  # fmt: skip
#: Those with a body or a query; every text is a path.
UNFIT = [
    ("POST", "/session"), ("POST", "/uploads"), ("POST", "/inspect"), ("POST", "/check"), ("POST", "/upload"),
    ("GET", "/runs"), ("GET", "/runs/{run_id}/rejects"),
]  # fmt: skip
#: Of each operation.
EXAMPLES = 10


@pytest.fixture(scope="module")
def described(service: Service) -> Any:
    return schemathesis.openapi.from_url(f"{service.url}/openapi.json")


def test_all_operations_are_tried(described: Any) -> None:
    assert {
        (method.upper(), path) for path, methods in described.raw_schema["paths"].items() for method in methods
    } == set(OPERATIONS)


def test_answers_are_declared_once() -> None:
    """Each route returns the model of its answer, except a file, a stream of events, and a descriptor of any shape."""
    routes: list[Any] = [route for module in (about, runs, work) for route in module.router.routes]
    undeclared = {route.path for route in routes if route.response_model is None}
    assert undeclared == {"/contracts/{name}", "/runs/{run_id}/rejects.xlsx", "/runs/{run_id}/events"}
    assert not [route.path for route in routes if route.response_model and "model" in route.responses.get(200, {})]


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda part: part)
def test_answers_to_what_fits_are_as_described(described: Any, method: str, path: str) -> None:
    tried(described[path][method].as_strategy(generation_mode=GenerationMode.POSITIVE))


@pytest.mark.parametrize(("method", "path"), UNFIT, ids=lambda part: part)
def test_answers_to_what_does_not_fit_are_as_described(described: Any, method: str, path: str) -> None:
    tried(described[path][method].as_strategy(generation_mode=GenerationMode.NEGATIVE))


def tried(strategy: Any) -> None:
    @hypothesis.given(case=strategy)
    @hypothesis.settings(max_examples=EXAMPLES)
    def each(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS, timeout=60)

    each()


def test_answers_to_real_work_are_as_described(service: Service, described: Any) -> None:
    """Random bodies never get that far: every kind of success, and of failure with a run."""

    def asked(method: str, path: str, status: int, address: str | None = None, **request: Any) -> Any:
        answer = service.client.request(method, address or path, **request)
        assert answer.status_code == status, answer.text
        answer.request.read()
        described[path][method].validate_response(answer)
        return answer.json() if "json" in answer.headers["content-type"] else answer

    files = {"file": ("described.xlsx", book(["n", "v"], [1, "a"], [2, "=1/0"]))}
    asked("GET", "/about", 200)
    asked("GET", "/health", 200)
    upload = asked("POST", "/uploads", 201, files=files)["upload"]["id"]
    asked("POST", "/inspect", 200, files=files)
    asked("POST", "/inspect", 422, params={"upload": upload, "sheet": "none"})
    asked("POST", "/check", 200, params={"upload": upload})
    run = asked("POST", "/upload", 200, params={"upload": upload})["run_id"]
    asked("POST", "/upload", 422, params={"upload": upload, "again": True, "max_rejects": 0})
    asked("POST", "/upload", 202, params={"upload": upload, "wait": False})
    asked("GET", "/tables", 200)
    asked("GET", "/contracts", 200)
    assert not [listed for listed in asked("GET", "/runs", 200)["runs"] if "options" in listed]
    assert asked("GET", "/runs/{run_id}", 200, f"/runs/{run}")["run"]["options"] == {}
    for part in ("", "/report", "/rejects", "/rejects.xlsx", "/events"):
        asked("GET", f"/runs/{{run_id}}{part}", 200, f"/runs/{run}{part}")
    asked("POST", "/runs/{run_id}/resume", 409, f"/runs/{run}/resume")
    asked("DELETE", "/runs/{run_id}", 200, f"/runs/{run}")
    asked("DELETE", "/uploads/{upload_id}", 200, f"/uploads/{upload}")
    asked("POST", "/upload", 404, params={"upload": upload})
    asked("POST", "/upload", 400, files={"file": ("x.txt", b"")})
    asked("POST", "/upload", 403, files=files, params={"table": "public.x"}, headers={"Origin": "http://evil"})
