"""Reads request bodies in pieces, a workbook directly to disk, within limits of size and time."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header

from importer.serve.errors import RequestError
from importer.settings import MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import BinaryIO

    from starlette.requests import Request

    from importer.serve.config import Config
    from importer.serve.jobs.uploads import Upload, Uploads

#: Largest size of a body without a workbook, and of one field of a form; contracts are the largest.
_MAX_FIELD_BYTES = 4 * MIB
#: Allowance for the form fields beside a workbook, and for the boundaries between them.
_FORM_OVERHEAD_BYTES = 8 * MIB
#: Largest number of parts of a form; there are fewer options than that.
_MAX_PARTS = 40
#: Size of one write to disk.
_WRITE_BYTES = 1 * MIB
#: File suffixes of contracts.
CONTRACT_SUFFIXES = (".json", ".yaml", ".yml", ".toml")


class ClientDisconnected(Exception):
    """The client disconnected before the end of the request."""


@dataclass
class Body:
    """The content of a request body.

    Attributes:
        fields: fields of the form or members of the JSON object, by name; empty form fields and nulls left out.
        upload: the workbook, completely received; the caller of `read_body` must keep or drop it.
        size: size of the workbook in bytes.
        contract: suffix and content of a contract that was sent as a file.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    upload: Upload | None = None
    size: int = 0
    contract: tuple[str, bytes] | None = None


async def read_body(request: Request, config: Config, uploads: Uploads) -> Body:
    """Read and return the body of a request.

    Raises:
        RequestError: the body is too large, too slow, malformed, or of an unknown type.
        ClientDisconnected: the client disconnected.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    announced = _announced(request)
    if kind == "multipart/form-data":
        return await _FormReader(request, config, uploads, announced).read(options.get("boundary", ""))
    if announced == 0 or (announced is None and "transfer-encoding" not in request.headers):
        return Body()
    if kind not in {"application/json", "application/x-www-form-urlencoded"}:
        raise RequestError(
            400, f"a body of type {kind[:100] or 'unknown'!r} is not accepted",
            choice="send multipart/form-data, application/x-www-form-urlencoded or application/json",
        )  # fmt: skip
    content = b"".join([piece async for piece in _iter_body(request, config, _MAX_FIELD_BYTES, announced)])
    return Body(_parse_json(content) if kind == "application/json" else _parse_form(content))


def _announced(request: Request) -> int | None:
    given = request.headers.get("content-length")
    return int(given) if given and given.isascii() and given.isdigit() else None


def _parse_json(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RequestError(400, "the body is not a JSON object")
    return {name: value for name, value in found.items() if value is not None}


def _parse_form(content: bytes) -> dict[str, Any]:
    try:
        found = parse_qsl(
            content.decode(), keep_blank_values=True, strict_parsing=bool(content), max_num_fields=_MAX_PARTS
        )
    except ValueError:
        raise RequestError(400, "the body is not a valid form") from None
    return {name: value for name, value in found if value}


async def _iter_body(request: Request, config: Config, limit: int, announced: int | None) -> AsyncIterator[bytes]:
    """Yield the body piece by piece.

    Raises:
        RequestError: the body is larger than `limit`, or too slow.
        ClientDisconnected: the client disconnected.
    """
    too_large = RequestError(
        413, f"the body is larger than {limit:,} bytes", kind="TooLarge", choice="send a smaller file"
    )
    if announced is not None and announced > limit:
        raise too_large
    received, deadline = 0, time.monotonic() + config.seconds
    more = True
    while more:
        left = deadline - time.monotonic()
        try:
            message = await asyncio.wait_for(request.receive(), min(config.idle_seconds, left))
        except TimeoutError:
            raise RequestError(408, "the body arrives too slowly", kind="TooSlow") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        more = message.get("more_body", False)
        piece = message.get("body", b"")
        received += len(piece)
        if received > limit:
            raise too_large
        if piece:
            yield piece


class _FormReader:
    """Receives a multipart form; removes a partly received workbook if that fails."""

    def __init__(self, request: Request, config: Config, uploads: Uploads, announced: int | None) -> None:
        self._request, self._config, self._uploads = request, config, uploads
        self._announced = announced
        self._expected = config.upload_bytes if announced is None else announced
        self._body = Body()
        self._segment: MultipartSegment | None = None
        self._field = bytearray()
        self._file: BinaryIO | None = None

    async def read(self, boundary: str) -> Body:
        limit = self._config.upload_bytes + _FORM_OVERHEAD_BYTES
        done = False
        try:
            with PushMultipartParser(
                boundary, max_segment_count=_MAX_PARTS, max_segment_size=self._config.upload_bytes, strict=True
            ) as parser:
                async for piece in _iter_body(self._request, self._config, limit, self._announced):
                    for event in parser.parse(piece):
                        await self._take(event)
            done = True
        except ParserLimitReached:
            largest = f"{self._config.upload_bytes:,} bytes"
            raise RequestError(
                413, f"the form has a part larger than {largest}, or too many parts", kind="TooLarge"
            ) from None
        except (MultipartError, UnicodeDecodeError, LookupError):
            raise RequestError(400, "the form is malformed or incomplete") from None
        except OSError as exc:
            raise RequestError(507, f"the service cannot store the file ({exc.strerror})", kind="NoRoom",
                          choice="try again later") from None  # fmt: skip
        finally:
            if self._file is not None:
                self._file.close()
            if not done and self._body.upload is not None:
                self._uploads.drop(self._body.upload)
        return self._body

    async def _take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        if isinstance(event, MultipartSegment):
            self._begin_part(event)
        elif event is None:
            await self._flush()
            await self._sync()
            self._end()
        else:
            self._field += event
            if self._file is None and len(self._field) > _MAX_FIELD_BYTES:
                raise RequestError(413, f"a form field is larger than {_MAX_FIELD_BYTES:,} bytes", kind="TooLarge")
            if self._file is not None and len(self._field) >= _WRITE_BYTES:
                await self._flush()

    def _begin_part(self, segment: MultipartSegment) -> None:
        self._segment = segment
        if segment.name == "file":
            if self._body.upload is not None:
                raise RequestError(400, "the form has more than one file", choice="send one request for each")
            self._body.upload = self._uploads.begin(segment.filename, self._expected)
            self._file = self._body.upload.path.open("xb")

    async def _flush(self) -> None:
        if self._file is not None and self._field:
            await asyncio.to_thread(self._file.write, bytes(self._field))
            self._body.size += len(self._field)
            self._field.clear()

    async def _sync(self) -> None:
        """Put a received workbook on the disk: the answer may say that its load goes on after a crash."""
        if self._file is not None:
            self._file.flush()
            await asyncio.to_thread(os.fsync, self._file.fileno())

    def _end(self) -> None:
        segment, content = self._segment, bytes(self._field)
        assert segment is not None
        self._field.clear()
        if self._file is not None:
            self._file.close()
            self._file = None
        elif segment.name == "contract" and segment.filename:
            suffix = "." + segment.filename.rpartition(".")[2].lower()
            if suffix not in CONTRACT_SUFFIXES:
                raise RequestError(400, "a contract must be a .json, .yaml or .toml file")
            self._body.contract = suffix, content
        elif content:
            # Browsers send all fields of a form, empty ones too.
            self._body.fields[segment.name or ""] = content.decode()
