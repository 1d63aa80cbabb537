"""Messages in the words of a caller from Python."""

from __future__ import annotations

import inspect
import re

import pytest

import importer
from importer import UsageError, import_workbook
from importer.api.messages import in_python, python_words

PARAMETERS = importer._parameters()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("header row 7 is a guess: row 3 is as likely; --header-row 3", "header row 7 is a guess: row 3 is as likely; header_row=3"),
        ("--header-row 2-4 takes them", 'header_row="2-4" takes them'),
        ("the contract's, or --mode upsert updates them", 'the contract\'s, or mode="upsert" updates them'),
        ("--types amount=number rejects that one", 'types="amount=number" rejects that one'),
        ("--types price=numeric(12,2) rejects", 'types="price=numeric(12,2)" rejects'),
        ("--types price='numeric(15,2)' keeps decimals", 'types="price=numeric(15,2)" keeps decimals'),
        ("--date-order dmy or mdy", 'date_order="dmy" or mdy'),
        ("--range E1:G5 or --range I1:J4", 'range="E1:G5" or range="I1:J4"'),
        ("raise --max-rejects", "raise max_rejects"),
        ("--max-rejects takes a number of rows", "max_rejects takes a number of rows"),
        ("--max-rejects 1%", 'max_rejects="1%"'),
        ("name another file with --rejects", "name another file with rejects"),
        ("another --rejects FILE", 'another rejects="FILE"'),
        ("--drift add-columns, or --columns", 'drift="add-columns", or columns'),
        ("--again loads it twice", "again=True loads it twice"),
        ("--until-blank", "until_blank=True"),
        ("--null 'n/a,-'", "null='n/a,-'"),
        ("--footer keep loads them", 'footer="keep" loads them'),
        ("see --verbose, and --no-such 3", "see --verbose, and --no-such 3"),
        ("a -- b", "a -- b"),
        ("`importer runs 5 --rejects FILE` writes it; or --again", "`importer runs 5 --rejects FILE` writes it; or again=True"),
        ("write one with: importer contract FILE --sheet x", "write one with: importer contract FILE --sheet x"),
    ],
)  # fmt: skip
def test_options_become_parameters(said: str, expected: str) -> None:
    assert in_python(said, PARAMETERS) == expected


def test_parameters_are_those_of_the_function() -> None:
    assert set(PARAMETERS) == set(inspect.signature(import_workbook).parameters) - {"workbook"}
    assert {name for name, flag in PARAMETERS.items() if flag} >= {"again", "lineage", "keep_names", "until_blank"}


def test_errors_speak_of_parameters() -> None:
    with pytest.raises(UsageError) as caught, python_words(PARAMETERS):
        raise UsageError("--key is for --mode upsert, not append", choice="--mode upsert, or no --key")
    assert str(caught.value) == 'key is for mode="upsert", not append\n  try:   mode="upsert", or no key'
    assert caught.value.args == (caught.value.fact,)
    assert not re.search("--", str(caught.value))
