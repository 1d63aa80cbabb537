"""Addresses: what they show, which name they give, what is a pattern, a folder or a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from importer.errors import UsageError
from importer.excel.rejects_origin import rejects_in_folder
from importer.urls import Url, as_url, file_name, path_or_url


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://bucket/in/jan.xlsx", "s3://bucket/in/jan.xlsx"),
        ("s3://bucket/jan.xlsx?versionId=4x", "s3://bucket/jan.xlsx?versionId=4x"),
        ("https://me:pw-7@h.ch:8443/a%20b.xlsx", "https://***@h.ch:8443/a%20b.xlsx"),
        ("https://token-of-mine@h.ch/x.xlsx", "https://***@h.ch/x.xlsx"),
        ("https://h.ch/x.xlsx?X-Amz-Signature=abcd&X-Amz-Expires=60", "https://h.ch/x.xlsx?X-Amz-Signature=***&X-Amz-Expires=***"),
        ("https://h.ch/x.xlsx?sv=2024&sig=a%2Fb%3D#top", "https://h.ch/x.xlsx?sv=***&sig=***"),
        ("https://h.ch/x.xlsx?just-a-token", "https://h.ch/x.xlsx?***"),
        ("https://h.ch/x.xlsx?a=1&token", "https://h.ch/x.xlsx?a=***&***"),
        ("HTTPS://me:pw@h.ch/x.xlsx", "HTTPS://***@h.ch/x.xlsx"),
        ("https://me:p@ss/wo:rd@h.ch/x.xlsx", "https://***@h.ch/x.xlsx"),
        ("https://h.ch/by/@me/x.xlsx", "https://h.ch/by/@me/x.xlsx"),
        ("sftp://me:pw-7@h.ch:22/in/x.xlsx", "sftp://me:***@h.ch:22/in/x.xlsx"),
        ("sftp://me@h.ch/in/x.xlsx", "sftp://me@h.ch/in/x.xlsx"),
        ("abfs://container@account.dfs.core.windows.net/x.xlsx", "abfs://container@account.dfs.core.windows.net/x.xlsx"),
        ("zip://in/x.xlsx::https://me:p::w@h.ch/x.zip?sig=abcd", "zip://in/x.xlsx::https://***@h.ch/x.zip?sig=***"),
    ],
)  # fmt: skip
def test_no_secret_is_shown(text: str, shown: str) -> None:
    url = as_url(text)
    assert url is not None
    assert (str(url), f"{url}", repr(url)) == (shown, shown, f"Url({shown!r})")
    assert str(Url(shown)) == shown
    assert url.scrub(f"GET {text} failed for pw-7") == f"GET {shown} failed for {'***' if ':pw-7@' in text else 'pw-7'}"


@pytest.mark.parametrize(
    "path", ["a.xlsx", "/in/a.xlsx", "C://in/a.xlsx", "in/a::b.xlsx", "-", "x:y", "*.xlsx", "http:/x"]
)
def test_a_path_is_no_address(path: str) -> None:
    assert as_url(path) is None
    assert path_or_url(path) == Path(path)


def test_a_local_address_is_a_path() -> None:
    assert path_or_url("file:///in/a.xlsx") == Path("/in/a.xlsx")
    assert path_or_url("file://localhost/in/a.xlsx") == Path("/in/a.xlsx")


def test_what_is_shown_leads_nowhere() -> None:
    for text in ("https://me:pw@h.ch/x.xlsx", "https://h.ch/x.xlsx?sig=abcd", "https://h.ch/x?abcd"):
        with pytest.raises(UsageError, match="hidden"):
            path_or_url(str(Url(text)))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("s3://b/in/jan.xlsx", "jan.xlsx"), ("https://h/a%20b.xlsx?x=y/z.csv", "a b.xlsx"), ("memory://jan.xlsx", "jan.xlsx"),
        ("https://h.ch", "workbook"), ("https://h.ch/", "workbook"), ("s3://b/..", "workbook"), ("https://h/..%2f..%2fx", "x"),
        ("simplecache::s3://b/k.xlsx", "k.xlsx"), ("s3://b/" + "ü" * 200 + ".xlsx", "ü" * 97 + ".xlsx"), ("in/a.xlsx", "a.xlsx"),
    ],
)  # fmt: skip
def test_the_name_of_the_copy(text: str, name: str) -> None:
    assert file_name(text) == name


def test_a_folder_at_an_address_gets_rejects_named_after_the_workbook() -> None:
    source = "https://h/in/jan.xlsx?sig=a/b.csv"
    found = rejects_in_folder({"rejects": "s3://b/out/", "table": "t"}, source)
    assert found == {"rejects": None, "default_rejects": "s3://b/out/jan.rejects.xlsx", "table": "t"}
    assert rejects_in_folder({"rejects": "out/"}, source)["default_rejects"] == "out/jan.rejects.xlsx"
    named = {"rejects": "s3://b/out/r.csv"}
    assert rejects_in_folder(named, source) == named


def test_patterns_and_folders() -> None:
    patterns = [t for t in (
        "s3://b/*.xlsx", "s3://b/jan?.xlsx", "s3://b/[ab].xlsx", "https://h/*.xlsx", "https://h/x.xlsx?a=*", "s3://b/x.xlsx",
        "https://me:p*w@h/x.xlsx", "s3://b/x.xlsx?versionId=1",
    ) if Url(t).is_pattern]  # fmt: skip
    assert patterns == ["s3://b/*.xlsx", "s3://b/jan?.xlsx", "s3://b/[ab].xlsx", "https://h/*.xlsx"]
    assert [Url(t).is_folder for t in ("s3://b/in/", "s3://b/in", "https://h/in/?x=y")] == [True, False, True]
    assert Url("https://h/r/?sig=1").joined("a.xlsx").text == "https://h/r/a.xlsx?sig=1"
    assert Url("s3://b/r/a.xlsx").sibling("a-2.xlsx").text == "s3://b/r/a-2.xlsx"
