"""Bridges the difference between this process and those of an executor, which may be on other machines.

They may have another version of the program, see other files, and have other variables in their environment.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from importer.batch.one_import import describe
from importer.errors import MachineError, SourceUnseen
from importer.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from importer.batch.one_import import ImportTask
    from importer.settings import Dsn

#: Keywords of libpq by their variables in the environment (libpq, section Environment Variables), but those that name
#: files of the machine.
_KEYWORDS = {
    "PGHOST": "host", "PGHOSTADDR": "hostaddr", "PGPORT": "port", "PGDATABASE": "dbname", "PGUSER": "user",
    "PGPASSWORD": "password", "PGOPTIONS": "options", "PGSSLMODE": "sslmode", "PGREQUIRESSL": "requiressl",
    "PGCHANNELBINDING": "channel_binding", "PGGSSENCMODE": "gssencmode", "PGKRBSRVNAME": "krbsrvname",
    "PGCONNECT_TIMEOUT": "connect_timeout", "PGTARGETSESSIONATTRS": "target_session_attrs",
}  # fmt: skip
_SHARED = "a folder that all workers have at the same place"


def refusal(task: ImportTask) -> dict[str, Any] | None:
    """Return why this process cannot do a task that another one handed out, as an error; None if it can try."""
    if task.version != __version__:
        fact = f"the worker has importer {__version__}, and not {task.version} as the one who sent the import"
        return describe(MachineError(fact, place=worker_name(), choice="install the same version on all workers"))
    unseen = [path for path in local_paths(task) if not path.exists()]
    if unseen:
        return describe(SourceUnseen(f"the worker does not see {unseen[0]}", place=worker_name(), choice=_SHARED))
    return None


def local_paths(task: ImportTask) -> list[Path]:
    """Return the files that a task reads and that are no addresses of something else, such as `s3://`."""
    contract = task.spec.options.get("contract")
    named = [task.spec.source, *([contract] if isinstance(contract, str) else [])]
    return [Path(name) for name in named if "://" not in name]


def worker_name() -> str:
    """Return the name of this process for people: machine and process id."""
    return f"machine {socket.gethostname()}, process {os.getpid()}"


def for_other_machines(dsn: Dsn, environ: Mapping[str, str]) -> str:
    """Return a connection string with what libpq would take from the environment, which workers do not have."""
    text = dsn.text
    found = {word: environ[name] for name, word in _KEYWORDS.items() if environ.get(name)}
    if re.match(r"\w+://", text) is None:
        given = set(re.findall(r"(\w+)\s*=", text))
        added = {word: value.replace("\\", "\\\\").replace("'", "\\'") for word, value in found.items()}
        return " ".join([text, *(f"{word}='{value}'" for word, value in added.items() if word not in given)])
    given = _given_in_uri(text)
    words = "&".join(f"{word}={quote(value, safe='')}" for word, value in found.items() if word not in given)
    if not words:
        return text
    return f"{text}{'&' if '?' in text else '?'}{words}"


def _given_in_uri(text: str) -> set[str]:
    parts = urlsplit(text)
    user, at, place = parts.netloc.rpartition("@")
    host, colon, _ = place.rpartition(":") if re.search(r":\d*$", place) else (place, "", "")
    given = set(re.findall(r"(?:^|&)(\w+)=", parts.query))
    present = {
        "user": bool(at), "password": ":" in user, "host": bool(host), "port": bool(colon),
        "dbname": len(parts.path) > 1,
    }  # fmt: skip
    given |= {word for word, is_given in present.items() if is_given}
    # An address in the environment would outrank the host of the connection string.
    return given | ({"hostaddr"} if "host" in given else set())
