"""Every command with sources, contracts, rejects and reports at web addresses; no secret of one is shown or kept."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.commandline import SECONDS, Ran, assert_clean, importer, importer_here, started
from support.tables import save
from support.webserver import Handler, WebFolder, statuses

from importer import (
    MachineError,
    SourceUnavailable,
    check_workbook,
    import_workbook,
    inspect_workbook,
    suggest_contract,
)
from importer.batch.import_spec import ImportSpec
from importer.cli.commands import main
from importer.remote.local_copy import local_copy
from importer.settings import Settings
from importer.sources.paths import find_sources
from importer.stages.open_file import open_file
from importer.urls import source_settings

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Database

SECRETS = ("pw-of-mine", "s1gn4ture", "me-myself")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with one for temporary files beside it."""
    for name in ("w", "temp"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "w")
    return tmp_path / "w"


def add_book(web: WebFolder, path: str, folder: Path, *rows: list[Any]) -> str:
    """Put a workbook on the server; return its address, with a password and a signature."""
    save(folder.parent / "made.xlsx", ["id", "v"], *rows)
    web.files[path] = (folder.parent / "made.xlsx").read_bytes()
    return secret(web, path)


def secret(web: WebFolder, path: str) -> str:
    return web.url(path).replace("//", "//me-myself:pw-of-mine@") + "?sig=s1gn4ture"


def shown(web: WebFolder, path: str) -> str:
    return web.url(path).replace("//", "//***@") + "?sig=***"


def run_here(here: Path, *arguments: object) -> Ran:
    ran = importer_here(*arguments, temp=here.parent / "temp")
    assert_clean(ran)
    assert not [s for s in SECRETS if s in ran.out + ran.err], ran.out + ran.err
    return ran


def test_one_with_everything_at_addresses(db: Database, here: Path, web: WebFolder) -> None:
    source = add_book(web, "/in/jan.xlsx", here, [1, "x"], ["no", "y"], [3, "z"])
    web.files["/c.yaml"] = b"fields: [{name: id, type: integer}, {name: v, type: string}]"
    ran = run_here(
        here, "run", source, "--contract", secret(web, "/c.yaml"), "--to", db.dsn.text, "--lineage", "--json",
        "--rejects", secret(web, "/out/r.csv"), "--report", secret(web, "/out/report.json"),
    )  # fmt: skip
    assert ran.code == 1
    assert ran.json["workbook"]["path"] == shown(web, "/in/jan.xlsx")
    assert ran.json["rejects"]["file"] == shown(web, "/out/r.csv")
    assert ran.json == json.loads(web.files["/out/report.json"])
    assert web.files["/out/r.csv"].startswith(b"_row,_errors,id,v\n3,")
    assert db.rows("select id, v, _source_file from jan order by id") == [
        (1, "x", shown(web, "/in/jan.xlsx")), (3, "z", shown(web, "/in/jan.xlsx")),
    ]  # fmt: skip
    kept = str(db.rows("select r::text from importer.runs r") + db.rows("select * from importer.rejects"))
    assert not [s for s in SECRETS if s in kept]
    # Another signature is the same import; `runs` writes the rejects to an address, too.
    again = run_here(here, "run", source.replace("s1gn", "S1GN"), "--contract", secret(web, "/c.yaml"), "--to", db.dsn.text, "--lineage", "--json")  # fmt: skip
    assert again.json["outcome"] == "already-imported"
    from importer.ledger.history import ledger_session, show_run
    from importer.report.rejects.kept import write_kept_rejects
    from importer.urls import Url

    with ledger_session(db.dsn.text) as session:
        for _ in range(2):  # the second one takes the place of the first
            sent = write_kept_rejects(session, show_run(session, ran.json["run"]["id"]), Url(secret(web, "/again.csv")))
    assert (sent["rows"], sent["file"]) == (1, shown(web, "/again.csv"))
    assert web.files["/again.csv"] == web.files["/out/r.csv"]
    assert list(here.iterdir()) == []


def test_job_file_and_imports_at_an_address(db: Database, here: Path, web: WebFolder) -> None:
    """What a file at an address names is in its folder, and asked for with its secrets, which stay hidden."""
    for name, n in (("jan", 1), ("feb", 2)):
        add_book(web, f"/in/{name}.xlsx", here, [n, name])
    web.files["/in/jobs.yaml"] = b"imports: [{source: jan.xlsx}]\ntable: j\n"
    web.files["/in/list.txt"] = b"# months\njan.xlsx\n\nfeb.xlsx\n"
    for name, rows in (("/in/jobs.yaml", [(1,)]), ("/in/list.txt", [(1,), (2,)])):
        ran = run_here(here, "run", "-f", secret(web, name), "--table", "j", "--to", db.dsn.text, "--json")
        assert (ran.code, len(ran.json["reports"])) == (0, len(rows)), ran.err
        assert db.rows("select id from j order by id") == rows
    web.files["/in/jobs.yaml"] = b"- {source: jan.xlsx, tabel: t}\n"
    ran = run_here(here, "run", "-f", secret(web, "/in/jobs.yaml"), "--to", db.dsn.text)
    assert (ran.code, shown(web, "/in/jobs.yaml") in ran.err) == (2, True)
    assert run_here(here, "run", "-f", secret(web, "/none.yaml"), "--to", db.dsn.text).code == 3
    web.files["/line.json"] = ImportSpec(secret(web, "/in/feb.xlsx"), None, "l").to_json().encode()
    ran = run_here(here, "run", "--import-spec", secret(web, "/line.json"), "--to", db.dsn.text)
    assert (ran.code, db.rows("select id from l")) == (0, [(2,)])


def test_commands_that_only_look(db: Database, here: Path, web: WebFolder) -> None:
    source = add_book(web, "/in/jan.xlsx", here, [1, "x"])
    assert run_here(here, "check", source, "--to", db.dsn.text, "--json").json["outcome"] == "checked"
    assert run_here(here, "inspect", source, "--json").json["workbook"]["path"] == shown(web, "/in/jan.xlsx")
    assert run_here(here, "contract", source).json["fields"][0]["name"] == "id"
    assert [f["name"] for f in suggest_contract(source)["fields"]] == ["id", "v"]
    assert check_workbook(source, to=db.dsn.text, workers=0).outcome == "checked"
    assert inspect_workbook(source).source.rows == 1


@pytest.mark.parametrize(
    ("path", "fault", "code", "words"),
    [
        ("/none.xlsx", None, 3, "no such file (404"), ("/a.xlsx", statuses(*[403] * 9), 3, "access is denied"),
        ("/a.xlsx", statuses(*[503] * 99), 4, "the server failed: 503"), ("/a.xlsx", None, 3, "unknown binary content"),
    ],
)  # fmt: skip
def test_an_error_names_the_address(
    db: Database, here: Path, web: WebFolder, path: str, fault: Any, code: int, words: str
) -> None:
    web.files["/a.xlsx"], web.faults["/a.xlsx"] = b"\x01\x02 no workbook", fault
    ran = run_here(here, "run", secret(web, path), "--to", db.dsn.text, "--retry-for", "0.2", "--report", "report.json")
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    assert shown(web, path) in ran.err
    assert json.loads((here / "report.json").read_text())["error"]["exit_code"] == code
    assert not db.rows("select 1 from pg_class where relname in ('a', 'none')")


def test_many_a_job_file_and_a_plan(db: Database, here: Path, web: WebFolder) -> None:
    for name in ("jan", "feb"):
        add_book(web, f"/in/{name}.xlsx", here, [1, name])
    (here / "jobs.yaml").write_text(
        f"table: t\nlineage: true\nimports:\n  - source: {secret(web, '/in/jan.xlsx')}\n  - source: {web.url('/in/feb.xlsx')}\n"
    )
    planned = run_here(here, "plan", "-f", "jobs.yaml", "--to", db.dsn.text, "--json")
    lines = [json.loads(line) for line in planned.out.splitlines()]
    assert [line["source"] for line in lines] == [shown(web, "/in/jan.xlsx"), web.url("/in/feb.xlsx")]
    assert [line["state"] for line in lines] == ["new", "new"]
    assert "copies" not in lines[0]["options"]
    # A line is good for what was planned, and for nothing else; one without its secret leads nowhere.
    spec = json.dumps(lines[1])
    hidden = run_here(here, "run", "--import-spec", json.dumps(lines[0]), "--to", db.dsn.text)
    assert (hidden.code, "secrets are hidden" in hidden.err) == (2, True)
    before = web.files["/in/feb.xlsx"]
    add_book(web, "/in/feb.xlsx", here, [2, "other"])
    other = run_here(here, "run", "--import-spec", spec, "--to", db.dsn.text)
    assert (other.code, "not the one that was planned" in other.err) == (3, True)
    web.files["/in/feb.xlsx"] = before
    assert run_here(here, "run", "--import-spec", spec, "--to", db.dsn.text).code == 0
    ran = run_here(
        here, "run", "-f", "jobs.yaml", "--to", db.dsn.text, "--json", "--report", secret(web, "/report.json")
    )
    assert [r["outcome"] for r in ran.json["reports"]] == ["published", "already-imported"]
    assert [r["source"] for r in ran.json["reports"]] == [shown(web, "/in/jan.xlsx"), web.url("/in/feb.xlsx")]
    assert json.loads(web.files["/report.json"]) == ran.json
    assert db.rows("select v from t order by v") == [("feb",), ("jan",)]


def test_rejects_that_cannot_be_sent_are_kept_and_sent_by_the_same_command(
    db: Database, here: Path, web: WebFolder
) -> None:
    source = add_book(web, "/in/jan.xlsx", here, [1, "x"], ["no", "y"])
    web.faults["/r.csv"] = lambda handler, _: handler.answer(403, b"") or True
    command = (
        "run",
        source,
        "--types",
        "id=integer",
        "--to",
        db.dsn.text,
        "--rejects",
        secret(web, "/r.csv"),
        "--json",
    )
    ran = run_here(here, *command)
    assert (ran.code, ran.json["outcome"]) == (4, "published")
    assert ran.json["rejects"]["file"] == str(here / "r.csv")
    assert "access is denied" in ran.json["rejects"]["undelivered"]
    assert (here / "r.csv").stat().st_size
    web.faults.clear()
    again = run_here(here, *command)
    assert (again.code, again.json["outcome"]) == (1, "already-imported")
    assert web.files["/r.csv"] == (here / "r.csv").read_bytes()
    assert run_here(here, *command).json["rejects"]["file"] == shown(web, "/r.csv")
    assert web.counts["/r.csv"] == 2
    # A report that cannot be sent is kept, too.
    web.faults["/report.json"] = lambda handler, _: handler.answer(403, b"") or True
    unsent = run_here(here, *command, "--max-rejects", "9", "--report", web.url("/report.json"))
    assert (unsent.code, "it is in" in unsent.err) == (4, True)
    assert json.loads((here / "report.json").read_text()) == unsent.json


def test_a_cut_or_changed_source_loads_nothing(db: Database, here: Path, web: WebFolder) -> None:
    source = add_book(web, "/in/jan.xlsx", here, [1, "x"])
    web.ranges = False

    def cut(handler: Handler, _: int) -> bool:
        handler.answer(200, web.files["/in/jan.xlsx"][:-1], length=len(web.files["/in/jan.xlsx"]))
        return True

    web.faults["/in/jan.xlsx"] = cut
    with pytest.raises(SourceUnavailable, match="cut"):
        import_workbook(source, to=db.dsn.text, retry_for=0.2, workers=0)
    assert not db.rows("select 1 from pg_class where relname = 'jan'")


def test_a_run_of_its_own_process_and_a_disk_that_is_full(db: Database, here: Path, web: WebFolder) -> None:
    source = add_book(web, "/in/jan.xlsx", here, [1, "x"])
    ran = importer("run", source, "--to", db.dsn.text, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["workbook"]["name"] == "jan.xlsx"
    assert_clean(ran)
    web.files["/big.xlsx"] = bytes(3 << 20)
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        full = run_here(here, "inspect", secret(web, "/big.xlsx"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (full.code, "cannot be kept" in full.err) == (4, True)


def test_ctrl_c_ends_a_fetch(db: Database, here: Path, web: WebFolder) -> None:
    held = threading.Event()
    web.faults["/in/jan.xlsx"] = lambda *_: held.wait(2 * SECONDS) or True
    command = ("-m", "importer", "run", secret(web, "/in/jan.xlsx"), "--to", db.dsn.text, "--workers", "1")
    with started(sys.executable, *command) as running:
        running.wait_for(lambda: web.asked)
        running.process.terminate()
        ran = running.finish()  # before the server answers
    held.set()
    assert ran.code == 143, ran.err
    assert_clean(ran)


def test_what_is_mistyped_is_not_repeated_with_its_secrets(
    db: Database, here: Path, web: WebFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = secret(web, "/in/jan.xlsx")
    for words in ([source], ["run", "--import-spec", json.dumps({"sourc": source})], ["run", source, "--debug", "--to", db.dsn.text], ["run", source, "--jsn"]):  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["importer", *words])
        with pytest.raises(SystemExit):
            main()
        told = "".join(capsys.readouterr())
        assert "importer" in told
        assert not [s for s in SECRETS if s in told], told


def test_folders_of_a_web_server(web: WebFolder, here: Path) -> None:
    """By the links on its page, as fsspec reads them."""
    web.files["/in/"] = b"<html><a href='jan.xlsx'>jan</a> <a href='feb.xlsx'>feb</a> <a href='readme.txt'>x</a></html>"
    names = tuple(web.url(f"/in/{name}.xlsx") for name in ("feb", "jan"))
    assert find_sources([web.url("/in/")]).paths == names
    assert find_sources([web.url("/in/*.xlsx")]).paths == names


def test_a_copy_that_somebody_changed_is_not_loaded(here: Path, web: WebFolder) -> None:
    add_book(web, "/in/jan.xlsx", here, [1, "x"])
    settings = Settings(**source_settings(web.url("/in/jan.xlsx")))
    with pytest.raises(MachineError, match="was changed") as caught, local_copy(settings) as copied:
        save(copied.workbook, ["id"], [2])
        open_file(copied, None)
    assert str(caught.value.place) == web.url("/in/jan.xlsx")


def test_what_goes_to_another_machine_has_no_part_in_copies_of_this_one() -> None:
    spec = ImportSpec("s3://b/x.xlsx", options={"copies": "/tmp/x", "contract": "s3://b/c.json", "rejects": "r/"})
    sent = spec.for_elsewhere()
    assert (sent.source, sent.options["contract"]) == ("s3://b/x.xlsx", "s3://b/c.json")
    assert "copies" not in sent.options
