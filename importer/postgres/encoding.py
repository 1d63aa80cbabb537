"""Owns what a database's encoding can hold: which characters, names and escapes; a database need not be UTF-8.

Sessions speak UTF-8 (see `session`), and the server converts. A character that its encoding lacks would fail a whole
COPY, and one that it maps to another (and back to that one) would be changed quietly. So the server is asked once for
all characters that come back as they were; texts are checked against those before they are sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl

from importer.errors import TargetRefused

from .sql import literal
from .types import NAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

#: Encodings of a database that keep the bytes of UTF-8 as they are. SQL_ASCII is none: it keeps all bytes.
_KEEPS_UTF8 = ("UTF8", "SQL_ASCII")
#: One more than the last code point of Unicode.
_CODE_POINTS = 0x110000
_HIGHEST_ASCII = 0x7F
#: Every character of two to four bytes that an encoding of a server can have, there and back again. Where a lead byte
#: is followed by two or three more is in the manual, "Character Set Support", and in src/common/wchar.c. It takes 3 ms
#: for encodings of one byte, 80 ms for EUC_JP, 600 ms for EUC_TW.
_FIND_CHARACTERS = """
DO $do$
DECLARE
  encoding name := getdatabaseencoding();
  wide bool := pg_encoding_max_length(pg_char_to_encoding(getdatabaseencoding())) > 1;
  one bytea; utf8 bytea; held bytea := '';
BEGIN
  FOR one IN
    SELECT set_byte('\\x00', 0, a) FROM generate_series(128, 255) a WHERE NOT wide
    UNION ALL
    SELECT set_byte(set_byte('\\x0000', 0, a), 1, b)
    FROM generate_series(128, 255) a, generate_series(160, 255) b WHERE wide
    UNION ALL
    SELECT set_byte(set_byte('\\x8f0000', 1, a), 2, b)
    FROM generate_series(161, 254) a, generate_series(161, 254) b WHERE encoding IN ('EUC_JP', 'EUC_JIS_2004')
    UNION ALL
    SELECT set_byte(set_byte(set_byte('\\x8e000000', 1, plane), 2, a), 3, b)
    FROM generate_series(161, 176) plane, generate_series(161, 254) a, generate_series(161, 254) b
    WHERE encoding = 'EUC_TW'
  LOOP
    BEGIN
      utf8 := convert(one, encoding, 'UTF8');
      IF length(utf8, 'UTF8') = 1 AND convert(convert(utf8, 'UTF8', encoding), encoding, 'UTF8') = utf8 THEN
        held := held || utf8;
      END IF;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  PERFORM set_config('importer.characters', encode(held, 'hex'), false);
END $do$
"""


@dataclass(frozen=True)
class Encoding:
    """The encoding of a database.

    Attributes:
        name: the server's name for it, such as `LATIN1`.
        characters: the characters beyond ASCII that it can hold; None: all.
    """

    name: str = "UTF8"
    characters: str | None = None

    @property
    def keeps_utf8(self) -> bool:
        """Whether the server stores the bytes of UTF-8 texts as they are sent."""
        return self.name in _KEEPS_UTF8

    @property
    def counts_bytes(self) -> bool:
        """Whether a character is a byte to the server, as in the length of a `varchar`."""
        return self.name == "SQL_ASCII"

    @property
    def escapable(self) -> str | None:
        r"""The characters beyond ASCII that `\u` escapes in jsonb may mean; None: all."""
        return "" if self.counts_bytes else self.characters

    def first_missing(self, text: str) -> str | None:
        """Return the first character of a text that the database cannot hold, or None."""
        if self.characters is None:
            return None
        held = _held_table(self.characters)
        return next((c for c in text if not held[ord(c)]), None)

    def escape(self, value: Any) -> Any:
        r"""Return a JSON-like value in whose texts `\u65e5` stands for a character that the database cannot hold."""
        if self.characters is None:
            return value
        if isinstance(value, dict):
            return {self.escape(key): self.escape(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.escape(item) for item in value]
        if not isinstance(value, str):
            return value
        return re.sub(r"[^\x00-\x7f]", lambda c: _escape_character(c[0]) if self.first_missing(c[0]) else c[0], value)


UTF8 = Encoding()


def _escape_character(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode()


class EncodedSession(Protocol):
    """What is needed of a `session.Session`, which imports this module."""

    encoding_name: str

    @property
    def encoding(self) -> Encoding:
        """The encoding of the database."""

    def run(self, sql: str) -> int:
        """Run a statement."""

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Run a query and return its first value."""


def find_encoding(session: EncodedSession) -> Encoding:
    """Return the encoding of the session's database, with the characters that it can hold as the server says."""
    if session.encoding_name in _KEEPS_UTF8:
        return Encoding(session.encoding_name)
    session.run(_FIND_CHARACTERS)
    found = session.value("select current_setting('importer.characters')")
    return Encoding(session.encoding_name, "".join(sorted(set(bytes.fromhex(found).decode()))))


def check_names(
    session: EncodedSession, names: Collection[str], what: str = "name it otherwise, as with a contract"
) -> None:
    """Refuse names of tables and columns that the database cannot hold.

    Args:
        session: session with the database.
        names: the names.
        what: what the user can do about it.

    Raises:
        TargetRefused: a name has a character that the encoding lacks, or too many bytes in it.
    """
    encoding = session.encoding
    if encoding.keeps_utf8 or not names:
        return
    place = f"the database (encoding {encoding.name}) cannot hold"
    for name in names:
        if missing := encoding.first_missing(name):
            raise TargetRefused(f"{name!r} has a character that {place}: {missing!r}", choice=what)
    listed = ", ".join(f"({literal(name)})" for name in names)
    asked = f"select name from (values {listed}) v(name) where octet_length(name) > {NAME_BYTES}"
    if (long := session.value(asked)) is not None:
        raise TargetRefused(f"{long!r} has more than the {NAME_BYTES} bytes that {place} in a name", choice=what)


def holds_texts(texts: pl.Expr, characters: str) -> pl.Expr:
    """Return whether each text has no characters beyond ASCII but these; true for null."""
    return texts.map_batches(lambda series: _holds_texts(series, characters), return_dtype=pl.Boolean).fill_null(
        value=True
    )


def _holds_texts(texts: pl.Series, characters: str) -> pl.Series:
    """Return a mask of the texts, which looks only at those that are not all ASCII."""
    wide = (texts.str.len_bytes() != texts.str.len_chars()).fill_null(value=False)
    if not wide.any():
        return ~wide
    some = texts.filter(wide)
    codes = np.frombuffer("".join(some.to_list()).encode("utf-32-le"), np.uint32)
    ends = np.cumsum(some.str.len_chars().to_numpy(), dtype=np.int64)
    missing = np.add.reduceat(~_held_table(characters)[codes], np.concatenate([[0], ends[:-1]]), dtype=np.int64)
    mask = np.ones(len(texts), np.bool_)
    mask[wide.to_numpy()] = missing == 0
    return pl.Series(texts.name, mask)


@lru_cache(maxsize=2)
def _held_table(characters: str) -> NDArray[np.bool_]:
    """Return, for each code point, whether it is ASCII or one of these."""
    held = np.zeros(_CODE_POINTS, np.bool_)
    held[: _HIGHEST_ASCII + 1] = True
    held[np.frombuffer(characters.encode("utf-32-le"), np.uint32)] = True
    return held
