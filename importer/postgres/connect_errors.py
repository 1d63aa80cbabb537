"""Decides what a failed connection means: its message, and whether another attempt can help.

The driver gives only libpq's text. In that, what the server said is in the server's language, so its SQLSTATE is asked
for over another connection. What libpq itself said is in English, with the system's words for network errors. An
attempt is repeated only for what is known to pass; anything else, such as a wrong password, is final.
"""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

from importer.errors import ConnectionFailed, LoginRefused, TargetRefused

from .libpq import libpq_connection

if TYPE_CHECKING:
    from importer.settings import Dsn

#: SQLSTATE classes and codes of a refused login that may be accepted later: connection trouble, resources (too many
#: connections), a server that starts, stops or recovers (PostgreSQL manual, appendix A).
_PASSING = ("00", "08000", "08001", "08006", "53", "57P01", "57P02", "57P03")
#: PgBouncer's code for nearly all that it says, in English.
_POOLER_CODE = "08P01"
_NETWORK_ERRORS = (
    errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.ETIMEDOUT, errno.ENETUNREACH, errno.EHOSTUNREACH,
    errno.ENETDOWN, errno.EHOSTDOWN, errno.ENETRESET, errno.EPIPE, errno.EAGAIN, errno.EADDRNOTAVAIL, errno.ENOBUFS,
)  # fmt: skip
#: What libpq says when the network or the server fails, and not the login (fe-connect.c, fe-misc.c, fe-secure.c). An
#: error in answer to the request for encryption is that of a server that cannot start a process; libpq hides its words.
_LIBPQ_PASSING = re.compile(
    r"timeout expired|server closed the connection unexpectedly|SSL connection has been closed unexpectedly"
    r"|SSL SYSCALL error: EOF detected|server sent an error response during (?:SSL|GSS encryption) exchange"
    r"|session is (?:not )?read-only|server is (?:not )?in hot standby mode"
)
#: What servers and PgBouncer say in English when a later attempt may be accepted, for when the SQLSTATE is not known.
_SERVER_PASSING = re.compile(
    r"starting up|shutting down|in recovery|not yet accepting connections|too many (?:clients|connections)"
    r"|connection slots are reserved|max_client_conn|pgbouncer cannot connect|server login has been failing"
    r"|query_wait_timeout|server_login_retry|connect failed"
)
#: What libpq says of a service (PGSERVICE) and of its file, and of options whose values are words of its own. What it
#: says of other parts of a connection string may quote a password in the wrong place.
_SERVICE_FAULT = re.compile(r"definition of service [^\n]*|[^\n]*\bservice (?:file|definition|specifications)\b[^\n]*")
_OPTION_FAULT = re.compile(
    r"invalid (?:sslmode|target_session_attrs|channel_binding|gssencmode|load_balance_hosts|require_auth) value[^\n]*"
    r"|invalid port number|could not match \d+ (?:port|host)[^\n]*"
    r"|(?:sslmode|gssencmode) value \"\w*\" invalid [^\n]*|Unix-domain socket path [^\n]*too long[^\n]*"
)
#: What the server said, as libpq shows it: its word for the severity, a colon and two blanks.
_SAID_BY_SERVER = re.compile(r"failed: [^\n:]+:  ")


def connection_error(text: str, dsn: Dsn | None) -> ConnectionFailed:
    """Return the error for a failed connection, transient only if a later attempt may succeed.

    Args:
        text: the driver's message, which has libpq's.
        dsn: the connection string, or None if it is not known.
    """
    said = text.partition("Failed to connect: ")[2]
    service = None if "connection info string" in said else _SERVICE_FAULT.match(said)
    if service and not said.startswith("connection to server"):
        return LoginRefused(
            f"cannot connect: {service[0]}",
            place=str(dsn) if dsn else None,
            choice="check the service's name (PGSERVICE) and its file (PGSERVICEFILE, else ~/.pg_service.conf)",
        )
    final = (dsn is not None and dsn.misread) or not _may_pass(text, dsn)
    kind = LoginRefused if final else ConnectionFailed
    return kind(
        _message(text, dsn),
        place=str(dsn) if dsn else None,
        choice="check --to, IMPORTER_DSN or DATABASE_URL",
    )


def pooler_error() -> TargetRefused:
    """Return the error for a pooler that does not keep sessions."""
    return TargetRefused(
        "a pooler in between must keep sessions (PgBouncer: session mode), because the ledger's locks belong to them; "
        "this one gives each transaction to another server process",
        choice="pool_mode = session, or connect to the server itself",
    )


def _may_pass(text: str, dsn: Dsn | None) -> bool:
    # Of several hosts the last one decides: after a host that refuses the login, libpq tries no other.
    last = text[max(text.rfind("connection to server "), 0) :]
    if not _SAID_BY_SERVER.search(last):
        return _is_network_error(last)
    state = _sqlstate(dsn)
    if state is None or state == _POOLER_CODE:
        return _SERVER_PASSING.search(last) is not None
    return state.startswith(_PASSING)


def _is_network_error(text: str) -> bool:
    # The system's words are in the language of this process, as those of `os.strerror` are.
    words = "|".join(re.escape(os.strerror(number)) for number in _NETWORK_ERRORS)
    absent = re.escape(os.strerror(errno.ENOENT))
    return bool(re.search(rf": (?:{words})|on socket \"[^\n]*failed: {absent}", text) or _LIBPQ_PASSING.search(text))


def _sqlstate(dsn: Dsn | None) -> str | None:
    """Return the SQLSTATE of another attempt; None if it is not known."""
    if dsn is None:
        return None
    with libpq_connection(dsn.text) as connection:
        return connection.sqlstate if connection else None


def _message(text: str, dsn: Dsn | None) -> str:
    """Return libpq's message about a failed connection, unless it quotes the connection string (and a password)."""
    if dsn is not None and dsn.misread:
        return "cannot connect: user or password has a character that must be percent-encoded (@ as %40, / as %2F)"
    cause = re.search(r"(connection to server .*)", text, re.DOTALL)
    if cause:
        return "cannot connect: " + " ".join(cause[1].split())
    known = re.search(r"(?:could not translate host name|timeout expired|no password|server closed)[^\n]*", text)
    known = known or _OPTION_FAULT.search(text)
    if known or dsn is None:
        return "cannot connect: " + (known[0] if known else text)
    return "the connection string is not one that libpq understands" if "libpq" in text else f"cannot connect: {text}"
