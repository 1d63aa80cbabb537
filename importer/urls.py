"""Defines addresses of files elsewhere (`s3://bucket/in/jan.xlsx`), which are shown without their secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from .errors import UsageError

#: A scheme has two letters at least: one is a drive of Windows. `zip://a.xlsx::s3://…` and `simplecache::s3://…` are
#: chains of file systems, as fsspec writes them.
_BEGINNING = re.compile(r"(?i)[a-z][a-z0-9+.-]+://|[a-z][a-z0-9+.-]+::(?:[^/\\]*::)*[a-z][a-z0-9+.-]+://")
_LINK_OF_CHAIN = re.compile(r"(?i)::(?=[a-z][a-z0-9+.-]*(?:://|::|$))")
#: An address within a message of a library.
_IN_TEXT = re.compile(r"(?i)[a-z][a-z0-9+.-]+://[^\s'\"<>]+")
_HTTP = ("http", "https")
#: What an address says of a version, which is no secret.
_PUBLIC = frozenset({"versionid", "generation", "snapshot"})
_MASK = "***"
#: Bytes of a file's name, of the 255 that file systems allow.
_NAME_BYTES = 200


@dataclass(frozen=True, repr=False)
class Url:
    """The address of a file elsewhere; its `repr` and `str` hide passwords and the values of its query.

    Attributes:
        text: the address as it was given.
    """

    text: str

    def __repr__(self) -> str:
        return f"Url({str(self)!r})"

    def __str__(self) -> str:
        return "::".join(map(_masked, _LINK_OF_CHAIN.split(self.text)))

    @property
    def scheme(self) -> str:
        """The scheme in lower case, of a chain the first one."""
        return re.split("://|::", self.text, maxsplit=1)[0].lower()

    @property
    def is_http(self) -> bool:
        """Whether a web server has the file."""
        return self.scheme in _HTTP

    @property
    def is_masked(self) -> bool:
        """Whether this is an address as it is shown, from which something is missing."""
        return f"{_MASK}@" in self.text or re.search(r"[?&=]\*\*\*(?:[&#]|$)", self.text) is not None

    @property
    def path(self) -> str:
        """What follows the scheme, without query: `bucket/in/jan.xlsx`."""
        if self.is_http:
            parts = urlsplit(self.text)
            return parts.netloc + unquote(parts.path)
        link = next(each for each in _LINK_OF_CHAIN.split(self.text) if "://" in each)
        return re.sub(r"\?[\w.-]+=.*", "", link.partition("://")[2])

    @property
    def is_folder(self) -> bool:
        """Whether it is written as the address of a folder."""
        return self.path.endswith("/")

    @property
    def is_pattern(self) -> bool:
        """Whether it stands for several files; a question mark begins the query of a web address."""
        return re.search(r"\*|\[[^\]]+\]" if self.is_http else r"[*?]|\[[^\]]+\]", self._within) is not None

    @property
    def _within(self) -> str:
        """The path, if it is that of a web address below the host."""
        return self.path.partition("/")[2] if self.is_http else self.path

    @property
    def name(self) -> str:
        """A name for a local file of the same content."""
        name = "".join(c for c in PurePosixPath(self._within).name if c.isprintable() and c not in '\\/:*?"<>|')
        while len(name.encode("utf-8", "replace")) > _NAME_BYTES:
            name = name[1:]
        return "workbook" if name in {"", ".", ".."} else name

    @property
    def suffix(self) -> str:
        """The suffix of the name in lower case, such as `.xlsx`."""
        return Path(self.name).suffix.lower()

    def joined(self, name: str) -> Url:
        """Return the address of a file in this folder."""
        head, question, query = self.text.partition("?") if self.is_http else (self.text, "", "")
        return Url(head.rstrip("/") + "/" + name + question + query)

    def sibling(self, name: str) -> Url:
        """Return the address of another file in the same folder."""
        head, question, query = self.text.partition("?") if self.is_http else (self.text, "", "")
        return Url(head.rpartition("/")[0] + "/" + name + question + query)

    def scrub(self, text: str) -> str:
        """Return a message without what this address, or any in the message, holds of secrets."""
        hidden = text
        for secret in sorted(self._secrets(), key=len, reverse=True):
            hidden = hidden.replace(secret, _MASK)
        return hide_secrets(hidden)

    def _secrets(self) -> set[str]:
        found = set()
        for link in _LINK_OF_CHAIN.split(self.text):
            user = _user_of(link)
            found |= {user.partition(":")[2]} if ":" in user else {user} if self.is_http else set()
            for name, value in re.findall(r"[?&]([\w.~%+-]+)=([^&#]*)", link):
                found |= {value} if name.lower() not in _PUBLIC else set()
        # What is as short as a number would make a riddle of a message.
        return {each for secret in found for each in (secret, unquote(secret)) if len(each) > 3}  # noqa: PLR2004


def as_url(text: object) -> Url | None:
    """Return the address that a text is; None if it is a path."""
    if isinstance(text, Url):
        return text
    if not isinstance(text, str) or _BEGINNING.match(text) is None:
        return None
    return Url(text)


def hide_secrets(text: str) -> str:
    """Return a text in which addresses are as they are shown."""
    return _IN_TEXT.sub(lambda match: str(Url(match[0])), text)


def file_name(text: str | Path) -> str:
    """Return the name of the file that a path or an address leads to."""
    url = as_url(text)
    return Path(text).name if url is None else url.name


def path_or_url(text: str | Path | Url) -> Path | Url:
    """Return the place that a text names.

    Raises:
        UsageError: it is an address as it is shown, from which something is missing.
    """
    url = as_url(text)
    if url is None:
        return Path(str(text))
    if url.scheme in {"file", "local"}:
        return Path(re.sub(r"(?i)^\w+://(?:localhost(?=/))?", "", url.text))
    if url.is_masked:
        raise UsageError(
            "an address whose secrets are hidden (***) leads nowhere", place=str(url), choice="give the address itself"
        )
    return url


def _user_of(link: str) -> str:
    """Return user and password of an address, empty if it has none."""
    rest = link.partition("://")[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    # A password may hold any character, even unescaped by mistake; what follows a host's colon is a number.
    if "@" in rest and (re.search(r":(?!\d*$)", authority) or re.search(r":.*@", authority)):
        return rest.partition("?")[0].rpartition("@")[0] or rest.rpartition("@")[0]
    return authority.rpartition("@")[0]


def _masked(link: str) -> str:
    user = _user_of(link)
    if user:
        scheme, _, rest = link.partition("://")
        shown = user.partition(":")[0] + f":{_MASK}" if ":" in user else user
        # The user of a web address is often a token; that of abfs:// is a container.
        shown = _MASK if scheme.lower() in _HTTP else shown
        link = f"{scheme}://{shown}{rest.removeprefix(user)}"
    if link.lower().startswith(_HTTP):
        link = re.sub(r"#.*", "", link, flags=re.DOTALL)
        link = re.sub(r"([?&])[^=&]+(?=&|$)", rf"\1{_MASK}", link)
    return re.sub(r"(?<=[?&])([\w.~%+-]+)=([^&]*)", _masked_value, link)


def _masked_value(match: re.Match[str]) -> str:
    return match[0] if match[1].lower() in _PUBLIC else f"{match[1]}={_MASK}"


@dataclass(frozen=True)
class RemoteSource:
    """A source at an address, of which a copy is made before it is read.

    Attributes:
        url: the address.
        version: version that the file must have, or has; None if any will do, or none is known.
        folder: folder in which several imports share their copies; None: a copy of its own.
        sha256: SHA-256 of the copy, in hex; None as long as there is none.
    """

    url: Url
    version: str | None = None
    folder: Path | None = None
    sha256: str | None = None


def source_settings(
    workbook: str | Path | Url, version: str | None = None, copies: str | Path | None = None
) -> dict[str, Any]:
    """Return the settings that say where a workbook is.

    Args:
        workbook: path or address.
        version: version that a file at an address must have; None: any.
        copies: folder in which several imports share copies of files at addresses; None: each has its own.

    Raises:
        UsageError: it is an address as it is shown, from which something is missing.
    """
    place = path_or_url(workbook)
    if isinstance(place, Path):
        return {"workbook": place}
    source = RemoteSource(place, version, Path(copies) if copies else None)
    return {"workbook": Path(place.name), "source": source}
