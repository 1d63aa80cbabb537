"""Serves the web page, its files, and the description of the HTTP interface; loads nothing from other hosts."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request  # noqa: TC002 - FastAPI reads the annotations
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from importer.serve.errors import RequestError

if TYPE_CHECKING:
    from fastapi import FastAPI

_HERE = Path(__file__).parent
PAGE_FOLDER = _HERE.parent / "page"
_HTML_HEAD = (
    "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>importer: HTTP interface</title>"
    "<meta name='viewport' content='width=device-width, initial-scale=1'><link rel='stylesheet' href='/docs.css'>"
    "</head><body><main>"
)


def add_pages(app: FastAPI) -> None:
    """Add the routes of the page, its files and the description to `app`."""
    described: list[str] = []

    async def page(_: Request) -> Response:
        if not (PAGE_FOLDER / "index.html").is_file():
            raise RequestError(404, "this installation has no page", choice="see /docs")
        return FileResponse(PAGE_FOLDER / "index.html")

    async def docs(_: Request) -> Response:
        if not described:
            described.append(describe(app.openapi()))
        return HTMLResponse(described[0])

    async def look(_: Request) -> Response:
        return FileResponse(_HERE / "docs.css")

    for path, show in (("/", page), ("/docs", docs), ("/docs.css", look)):
        app.add_api_route(path, show, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=PAGE_FOLDER, check_dir=False), name="static")


def describe(document: dict[str, Any]) -> str:
    """Return the OpenAPI document as an HTML page without scripts."""
    info = document["info"]
    words = f"<h1>{_text(info['title'])} {_text(info['version'])}</h1><p>{_text(info['description'])}"
    parts = [_HTML_HEAD, words, " <a href='/'>Web page</a> · <a href='/openapi.json'>OpenAPI document</a></p>"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(_render_operation(method, path, operation))
    parts.append("<h2 id='shapes'>Shapes of responses</h2>")
    for name, schema in sorted(document["components"]["schemas"].items()):
        words = _text(schema.get("description", ""))
        shape = _text(json.dumps(schema.get("properties", schema), indent=1))
        parts.append(
            f"<details id='{_text(name)}'><summary>{_text(name)}: {words}</summary><pre>{shape}</pre></details>"
        )
    return "".join([*parts, "</main></body></html>"])


def _render_operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = [
        (p["name"], p["in"], _describe_values(p["schema"]), p.get("description") or p["schema"].get("description", ""))
        for p in operation.get("parameters", ())
    ]
    content = operation.get("requestBody", {}).get("content", {})
    form = content.get("multipart/form-data", {}).get("schema", {}).get("properties", {})
    if "file" in form:
        rows.insert(0, ("file", "form", "binary", form["file"]["description"]))
    table = "".join("<tr>" + "".join(f"<td>{_text(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    head = "<tr>" + "".join(f"<th scope='col'>{name}</th>" for name in ("name", "in", "values", "meaning")) + "</tr>"
    answers = "".join(
        f"<li><code>{status}</code> {_text(answer.get('description', ''))}{_schema_link(answer)}</li>"
        for status, answer in sorted(operation["responses"].items())
    )
    return (
        f"<section><h2><code>{method.upper()} {_text(path)}</code></h2><p>{_text(operation.get('summary', ''))}</p>"
        + (f"<p>Request bodies: {_text(', '.join(content))}</p>" if content else "")
        + (f"<div class='wide'><table><thead>{head}</thead><tbody>{table}</tbody></table></div>" if table else "")
        + f"<ul>{answers}</ul></section>"
    )


def _schema_link(answer: dict[str, Any]) -> str:
    """Return a link to the schema of a response, or an empty text if it has no name."""
    content: list[dict[str, Any]] = list(answer.get("content", {}).values())
    schema = content[0].get("schema", {}) if content else {}
    name = schema.get("$ref", "").rpartition("/")[2]
    return f": <a href='#{_text(name)}'>{_text(name)}</a>" if name else ""


def _describe_values(schema: dict[str, Any]) -> str:
    options = [s for s in schema.get("anyOf", [schema]) if s.get("type") != "null"]
    words = []
    for option in options:
        if "enum" in option:
            words.append(" | ".join(map(str, option["enum"])))
        else:
            words.append(option.get("pattern") or option.get("type", ""))
    default = schema.get("default")
    return " or ".join(words) + (f" (default {json.dumps(default)})" if default is not None else "")


def _text(text: str) -> str:
    return html.escape(text, quote=True)
