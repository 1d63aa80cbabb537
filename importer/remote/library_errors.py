"""Tells what the errors of many libraries mean: refused for good, or a failure that may pass; none shows a secret."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from importer.errors import ImporterError, SourceRefused, SourceUnavailable, UsageError

if TYPE_CHECKING:
    from importer.urls import Url

#: Answers that are known to pass, as in `web`.
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_DENIED, _MISSING = frozenset({401, 403, 407}), frozenset({404, 410})
#: Errors about who asks, by the names that botocore, azure, google and asyncssh give them.
_DENIED_NAMES = (
    "NoCredentials", "PartialCredentials", "CredentialRetrieval", "TokenRetrieval", "UnauthorizedSSO",
    "ProfileNotFound", "DefaultCredentials", "RefreshError", "ClientAuthentication", "PermissionDenied",
    "KeyImport", "KeyEncryption",
)  # fmt: skip
_HOST_KEY = "HostKey"
#: Failures of a connection that are no OSError, by the names of botocore, aiohttp, azure and asyncssh.
_CONNECTION_NAMES = (
    "EndpointConnection", "ConnectionClosed", "ConnectTimeout", "ReadTimeout", "HTTPClientError", "ServerDisconnected",
    "ClientConnector", "ClientPayload", "ClientOSError", "IncompleteRead", "ResponseParser", "ServiceRequest",
    "ServiceResponse", "ConnectionLost", "DisconnectError", "FSTimeout", "Timeout",
)  # fmt: skip
#: Errors of files that no retry mends.
_FINAL_CODES = frozenset({errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.EPERM, errno.ENAMETOOLONG, errno.EMSGSIZE})
_MOST_CHARS = 300
_DENIED_CHOICE = "credentials where that library finds them: the environment, its own files, or its settings in fsspec"


def library_error(url: Url, exc: BaseException) -> ImporterError:
    """Return our error for what a library raised about an address."""
    chain = list(_chain(exc))
    status, names = status_of(exc), [name for each in chain for name in _names(each)]
    said = url.scrub(" ".join(str(exc).split()))[:_MOST_CHARS] or type(exc).__name__
    place = str(url)
    if isinstance(exc, FileNotFoundError) or status in _MISSING:
        return SourceRefused("there is no such file", place=place, choice="check the address")
    if any(_HOST_KEY in name for name in names):
        choice = "look at its key, then: ssh-keyscan HOST >> ~/.ssh/known_hosts"
        return SourceRefused("the host is not known", place=place, choice=choice)
    if isinstance(exc, PermissionError) or status in _DENIED or _has(names, _DENIED_NAMES):
        return SourceRefused(f"access is denied ({said})", place=place, choice=_DENIED_CHOICE)
    if isinstance(exc, ValueError) and "rotocol not known" in str(exc):
        return UsageError(
            f"nothing reads {url.scheme}://", place=place, choice="a path, s3://, gs://, az://, https://…"
        )
    passes = status in _TRANSIENT or _has(names, _CONNECTION_NAMES)
    passes = passes or (status is None and isinstance(exc, OSError) and exc.errno not in _FINAL_CODES)
    if passes:
        choice = "run the same command again"
        return SourceUnavailable(f"the server failed ({said})", place=place, choice=choice)
    return SourceRefused(f"the address cannot be used ({type(exc).__name__}: {said})", place=place)


def status_of(exc: BaseException) -> int | None:
    """Return the HTTP status that an error, or what caused it, is about; None if it is about none."""
    for each in _chain(exc):
        response = getattr(each, "response", None)
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
        for value in (found, *(getattr(each, name, None) for name in ("status", "status_code", "code"))):
            if isinstance(value, int | str) and str(value).isdecimal() and int(value) >= 400:  # noqa: PLR2004 - of errors
                return int(value)
    return None


def _chain(exc: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while exc is not None and exc not in found:
        found.append(exc)
        exc = exc.__cause__ or exc.__context__
    return found


def _names(exc: BaseException) -> list[str]:
    return [kind.__name__ for kind in type(exc).__mro__]


def _has(names: list[str], parts: tuple[str, ...]) -> bool:
    return any(part in name for name in names for part in parts)
