"""Sources and rejects in S3, on a real server of it: once, of one version, in folders and patterns, and into a table."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.tables import save

from importer import import_many, import_workbook
from importer.errors import ImporterError, SourceChanged, SourceRefused, UsageError
from importer.remote import fetch, filesystems
from importer.remote.fetch import FetchRules, fetch_into
from importer.settings import Limits
from importer.sources.paths import find_sources
from importer.urls import Url

if TYPE_CHECKING:
    from conftest import Database

CONTENT = random.Random(8).randbytes(450_000)


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "RANGE_BYTES", 100_000)


def get(url: str, retry_for: float = 5.0) -> tuple[bytes, Any]:
    file = io.BytesIO()
    found = fetch_into(file, Url(url), FetchRules(Limits(), retry_for))
    return file.getvalue(), found


def put_book(s3: Any, address: str, folder: Path, *rows: list[Any], header: tuple[str, ...] = ("id", "v")) -> None:
    save(folder / "made.xlsx", list(header), *rows)
    s3.pipe_file(address, (folder / "made.xlsx").read_bytes())


@pytest.mark.usefixtures("small_ranges")
def test_an_object_is_read_in_ranges_of_its_version(s3: Any, bucket: str) -> None:
    s3.pipe_file(f"{bucket}/a.xlsx", CONTENT)
    content, found = get(f"s3://{bucket}/a.xlsx")
    assert content == CONTENT
    assert found == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), f'"{hashlib.md5(CONTENT).hexdigest()}"')


@pytest.mark.usefixtures("small_ranges")
@pytest.mark.parametrize("versioned", [False, True])
def test_an_object_that_is_replaced_meanwhile(
    s3: Any, bucket: str, versioned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused; where the bucket keeps versions, the one that was begun with is read to its end."""
    if versioned:
        s3.call_s3("put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.pipe_file(f"{bucket}/a.xlsx", CONTENT)
    read, calls = filesystems.SystemReader.read, []

    def replace_first(reader: Any, start: int, stop: int) -> bytes:
        if not calls:
            calls.append(s3.pipe_file(f"{bucket}/a.xlsx", CONTENT[::-1]))
        return read(reader, start, stop)

    monkeypatch.setattr(filesystems.SystemReader, "read", replace_first)
    if versioned:
        assert get(f"s3://{bucket}/a.xlsx")[0] == CONTENT
    else:
        with pytest.raises(SourceChanged, match="changed while"):
            get(f"s3://{bucket}/a.xlsx")


@pytest.mark.parametrize(("path", "words"), [("none.xlsx", "no such file"), ("in", "of a folder")])
def test_what_is_not_there_is_refused_at_once(s3: Any, bucket: str, path: str, words: str) -> None:
    s3.pipe_file(f"{bucket}/in/a.xlsx", b"x")
    with pytest.raises(SourceRefused, match=words) as caught:
        get(f"s3://{bucket}/{path}", 60)
    assert caught.value.exit_code == 3


def test_patterns_and_folders_are_listed(s3: Any, bucket: str) -> None:
    for path in ("in/b.xlsx", "in/a.CSV", "in/~$b.xlsx", "in/b.rejects.xlsx", "in/deep/c.xlsx", "in/x.txt"):
        s3.pipe_file(f"{bucket}/{path}", b"x")
    root = f"s3://{bucket}/in"
    found = find_sources([f"{root}/", f"{root}/**/*.xlsx", f"{root}/none.xlsx"])
    assert found.paths == tuple(f"{root}/{name}" for name in ("a.CSV", "b.xlsx", "deep/c.xlsx", "none.xlsx"))
    assert any("lock file" in note for note in found.notes)
    assert any("b.xlsx is named twice" in note for note in found.notes)
    for source, words in ((f"{root}/*.ods", "matches no workbook"), (f"s3://{bucket}/out/", "no such file")):
        with pytest.raises(ImporterError, match=words):
            find_sources([source])


def test_one_into_a_table_with_contract_rejects_and_lineage(
    db: Database, s3: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put_book(s3, f"{bucket}/in/jan.xlsx", tmp_path, [1, "x"], [2, "n/a"], [None, "y"])
    contract = {
        "fields": [
            {"name": "id", "type": "integer", "constraints": {"required": True}},
            {"name": "v", "type": "string"},
        ]
    }
    s3.pipe_file(f"{bucket}/c.json", json.dumps(contract).encode())
    source, rejects = f"s3://{bucket}/in/jan.xlsx", f"s3://{bucket}/out/r.xlsx"
    given = {"to": db.dsn.text, "contract": f"s3://{bucket}/c.json", "lineage": True}
    report = import_workbook(source, rejects=rejects, **given)
    assert (report.outcome, report.error_count, report.workbook["path"]) == ("published", 1, source)
    assert db.rows("select id, v, _source_file from jan order by id") == [(1, "x", source), (2, "n/a", source)]
    assert report.rejects_file == rejects
    assert str(report.mend_command).startswith(f"importer run {rejects} --contract s3://{bucket}/c.json ")
    assert db.rows("select workbook, counts->>'rejects_file' from importer.runs where id = '" + report.run["id"] + "'") == [(source, rejects)]  # fmt: skip
    # The rejects are a workbook that the next run takes from there, and the same bytes from elsewhere are known.
    again = import_workbook(rejects, rejects=tmp_path / "r2.xlsx", **given)
    assert (again.total_records, again.error_count, again.target["table"]) == (1, 1, "jan")
    s3.get_file(f"{bucket}/in/jan.xlsx", str(tmp_path / "jan.xlsx"))
    assert import_workbook(tmp_path / "jan.xlsx", **given).outcome == "already-imported"
    assert sorted(os.listdir(tmp_path)) == ["jan.xlsx", "made.xlsx", "r2.xlsx"]


def test_many_are_fetched_once_each(
    db: Database, s3: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By processes of their own, and in this one: for the list of sheets, the survey of types, and the import."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("jan", 1), ("feb", "n/a"), ("mar", 2.5)):
        put_book(s3, f"{bucket}/in/{name}.xlsx", tmp_path, [1, value])
    fetched: list[str] = []
    real = fetch.open_reader
    monkeypatch.setattr(fetch, "open_reader", lambda url: fetched.append(url.name) or real(url))
    report = import_many(f"s3://{bucket}/in/*.xlsx", to=db.dsn.text, table="t", sheets="all", workers=0, lineage=True)
    assert (report.exit_code, report.sums["published"]) == (0, 3)
    assert sorted(fetched) == ["feb.xlsx", "jan.xlsx", "mar.xlsx"]
    assert [r.source for r in report.reports] == [f"s3://{bucket}/in/{n}.xlsx" for n in ("feb", "jan", "mar")]
    assert db.rows("select v from t order by v") == [("1",), ("2.5",), ("n/a",)]
    again = import_many(f"s3://{bucket}/in/", to=db.dsn.text, table="t", sheets="all", workers=2, lineage=True)
    assert [r.outcome for r in again.reports] == ["already-imported"] * 3
    assert os.listdir(tmp_path) == ["made.xlsx"]


def test_rejects_of_many_go_to_a_folder_under_free_names(
    db: Database, s3: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/jan.xlsx", "b/jan.xlsx"):
        put_book(s3, f"{bucket}/{name}", tmp_path, [1, "#N/A"], [2, "1900-02-30"], [name[0], 5])
    given = {"to": db.dsn.text, "types": {"id": "integer"}, "workers": 0, "rejects": f"s3://{bucket}/out/"}
    report = import_many([f"s3://{bucket}/a/", f"s3://{bucket}/b/"], table="{stem}", **given)
    assert report.exit_code == 1
    names = [f"s3://{bucket}/out/{folder}_jan.rejects.xlsx" for folder in "ab"]
    assert [r.rejects_file for r in report.reports] == names
    again = import_many(f"s3://{bucket}/a/", table="other", **given)
    assert again.reports[0].rejects_file == f"s3://{bucket}/out/jan.rejects.xlsx"
    assert sorted(s3.ls(f"{bucket}/out")) == sorted(f"{bucket}/out/{n}.rejects.xlsx" for n in ("a_jan", "b_jan", "jan"))
    third = import_many(f"s3://{bucket}/b/", table="third", **given)
    assert third.reports[0].rejects_file == f"s3://{bucket}/out/jan.rejects-2.xlsx"
    one = import_many(f"s3://{bucket}/?/*.xlsx", table="one", **given | {"rejects": f"s3://{bucket}/out/all.xlsx"})
    assert [r.rejects_file for r in one.reports] == [f"s3://{bucket}/out/all.xlsx"] * 2
    assert "--sheets all" in one.workbooks[0].commands[0]
    given["rejects"] = f"s3://{bucket}/out/"
    mended = import_many(f"s3://{bucket}/out/all.xlsx", sheets="all", **given)
    assert [(str(r.table).split(".")[1], r.error_count) for r in mended.reports] == [("one", 1)] * 2


def test_denied_credentials_are_told_and_not_shown(s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any, the library says that it found none."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setattr(filesystems, "_systems", {})
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(SourceRefused, match="denied") as caught:
        get(f"s3://{bucket}/a.xlsx", 60)
    assert "credentials" in str(caught.value.choice)
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_scheme_that_nobody_knows() -> None:
    with pytest.raises(UsageError, match="nothing reads xyz://"):
        get("xyz://a/b.xlsx")
