"""The service does over HTTP what the command line does: inspect, check, map, load, fix; one workbook or many at once."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from support.otherbooks import Table, write_csv, write_ods, write_xls, write_xlsb, write_xlsx
from support.serving import Service, book, events, numbers, wait_for

from importer import import_workbook

DATA = Path(__file__).parents[2] / "data"
SAMPLE = (DATA / "businesses.xlsx").read_bytes()


# ---- LOAD -------------------------------------------------------------------------------------------------------


def test_upload_answers_with_statistics(service: Service) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    service.sql("DROP TABLE IF EXISTS businesses")
    command = ["curl", "-sS", "-X", "POST", f"{service.url}/upload?method=batch", "-F", "file=@data/businesses.xlsx"]
    ran = subprocess.run(command, cwd=DATA.parent, capture_output=True, text=True, timeout=300)
    answer = json.loads(ran.stdout)
    assert answer["method"] == "batch"
    assert answer["message"].startswith("9,997 of 10,000 rows loaded into ")
    stats = answer["stats"]
    assert (stats["total_records"], stats["success_count"], stats["error_count"]) == (10_000, 9_997, 3)
    assert stats["duration"].endswith("s")
    assert stats["records_per_second"] > 0
    assert {rule["key"] for rule in answer["rejects"]["by_rule"]} >= {"name|error-cell", "category|error-cell"}
    assert service.rows("select count(*) from businesses") == [(9_997,)]
    report = service.json(answer["links"]["report"])
    assert report["outcome"] == "published"
    assert all(c["cells"] == c["loaded"] + c["missing"] + c["ignored"] + c["rejected"] for c in report["columns"])
    assert service.client.get(answer["links"]["rejects"]).content.startswith(b"PK")


@pytest.mark.parametrize("method", ["sequential", "concurrent"])
def test_upload_methods(service: Service, method: str) -> None:
    answer = service.upload(numbers(1, 50), f"by_{method}.xlsx", f"/upload?method={method}")
    assert (answer.status_code, answer.json()["method"]) == (200, method)
    assert service.rows(f"select count(*), max(n) from by_{method}") == [(50, 50)]


def test_upload_twice_is_one_import(service: Service) -> None:
    content = numbers(1, 5)
    first, second = (service.upload(content, "twice.xlsx").json() for _ in range(2))
    assert (first["outcome"], second["outcome"]) == ("published", "already-imported")
    assert service.rows("select count(*) from twice") == [(5,)]
    assert service.upload(content, "twice.xlsx", again="true").json()["outcome"] == "published"
    assert service.rows("select count(*) from twice") == [(10,)]


def test_upload_options_come_as_query_form_or_json(service: Service) -> None:
    upload = service.upload(book(["id", "v"], [1, "a"], [1, "b"], [2, "c"]), path="/uploads").json()["upload"]["id"]
    options = {"upload": upload, "table": "opt", "mode": "upsert", "key": "id", "on_duplicate": "last"}
    assert service.client.post("/upload", params=options).json()["outcome"] == "published"
    assert service.client.post("/upload", data=options).json()["outcome"] == "already-imported"
    assert service.client.post("/upload", json=options | {"key": ["id"]}).json()["outcome"] == "already-imported"
    assert service.rows("select id, v from opt order by 1") == [(1, "b"), (2, "c")]


REFUSED: dict[str, Any] = {
    "method": ({"method": "quick"}, {}, "method"),
    "mode": ({"mode": "merge"}, {}, "mode"),
    "header row": ({}, {"header_row": "first"}, "header_row"),
    "budget": ({}, {"max_rejects": "101%"}, "max_rejects"),
    "unknown option": ({}, {"tabel": "x"}, "tabel"),
    "mapping": ({}, {"mapping": "[1]"}, "mapping"),
    "mapping and columns": ({}, {"mapping": '{"A": "n"}', "columns": "n"}, "columns"),
    "contract": ({}, {"contract": "../businesses"}, "contract"),
    "key without upsert": ({}, {"key": "n"}, None),
    "time zone": ({}, {"timezone": "Mars/Olympus"}, None),
    "NUL": ({}, {"table": "a\0b"}, "table"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_upload_refuses_options(service: Service, case: str) -> None:
    query, form, place = REFUSED[case]
    files = {"file": ("refused.xlsx", numbers(1, 2))}
    answer = service.client.post("/upload", params=query, data=form, files=files)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert answer.json()["place"] == place
    assert not any("refused" in name for name in service.kept())


def test_text_file_is_loaded_and_its_options_are_taken(service: Service) -> None:
    content = b"a;b,c\n1;2,x\n2;3,y\n"
    unclear = service.upload(content, "x.csv")
    assert (unclear.status_code, unclear.json()["choice"]) == (422, "delimiter comma, semicolon, tab or pipe")
    loaded = service.upload(content, "x.csv", delimiter="semicolon", encoding="cp1252", table="from_text")
    assert (loaded.status_code, loaded.json()["stats"]["success_count"]) == (200, 2)


FORMS = {"ods": write_ods, "xls": write_xls, "xlsb": write_xlsb, "tsv": write_csv, "xltm": write_xlsx}


@pytest.mark.parametrize("form", FORMS)
def test_every_format_is_inspected_loaded_and_fixed(service: Service, tmp_path: Path, form: str) -> None:
    """A look, a load with a reject, its workbook, which is an .xlsx whatever it comes from, and the fixed rows."""
    rows = [["id", "name"], [1, "one"], [2, "much too long"], [3, "three"]]
    content = FORMS[form](tmp_path / f"b.{form}", [Table(rows)]).read_bytes()
    fields = [{"name": "id", "type": "integer"}, {"name": "name", "type": "string", "constraints": {"maxLength": 8}}]
    options = {"table": f"form_{form}", "contract": ("c.json", json.dumps({"fields": fields}))}
    look = service.upload(content, f"b.{form}", "/inspect").json()
    assert [column["type"] for column in look["columns"]] == ["bigint", "text"]
    assert look["rows"]["data"] == 3
    loaded = service.upload(content, f"b.{form}", **options).json()
    assert (loaded["stats"]["success_count"], loaded["stats"]["error_count"]) == (2, 1)
    listed = service.json(loaded["links"]["bad_cells"])
    assert "B3" in json.dumps(listed)
    rejected = openpyxl.load_workbook(io.BytesIO(service.client.get(loaded["links"]["rejects"]).content))
    next(cell for row in rejected.active.iter_rows() for cell in row if cell.value == "much too long").value = "two"
    assert service.upload(_saved(rejected), "b.rejects.xlsx", **options).json()["stats"]["success_count"] == 1
    assert service.rows(f"select id, name from form_{form} order by id") == [(1, "one"), (2, "two"), (3, "three")]
    assert service.upload(content, f"other.{form}", **options).json()["outcome"] == "already-imported"
    cut = service.upload(content[:30] + bytes(9), f"cut.{form}", **options)
    assert (cut.status_code, "Traceback" in cut.text) == (422, False)


def test_upload_needs_a_workbook(service: Service) -> None:
    assert service.client.post("/upload").json()["error"] == "no file was sent"
    assert service.client.post("/upload", files={"other": ("x.xlsx", b"PK")}).status_code == 400
    wrong = service.upload(b"name,city\n", "x.txt")
    assert (wrong.status_code, wrong.json()["error"]) == (400, "'x.txt' is not the name of a workbook")
    disguised = service.upload(b"%PDF-1.7\n", "x.xlsx")
    assert (disguised.status_code, disguised.json()["type"]) == (422, "WorkbookRefused")
    assert service.client.post("/upload", content=b"PK", headers={"Content-Type": "text/plain"}).status_code == 400
    both = {"upload": "0" * 32}
    assert service.client.post("/upload", params=both, files={"file": ("x.xlsx", b"PK")}).status_code == 400
    assert service.client.post("/upload", params=both).json()["type"] == "UploadGone"


def test_upload_over_the_budget(service: Service) -> None:
    content = book(["n"], [1], ["=1/0"], [2])
    answer = service.upload(content, "costly.xlsx", max_rejects=0)
    assert (answer.status_code, answer.json()["type"]) == (422, "BudgetExceeded")
    assert answer.json()["choice"] == "fix them in the workbook (rejects.xlsx lists them), or raise max_rejects"
    assert answer.json()["run"]["rejects"]["rows"] == 1
    assert service.client.get(answer.json()["run"]["links"]["rejects"]).status_code == 200
    assert service.rows("select to_regclass('costly')::text") == [(None,)]


def test_upload_fixes_and_loads_again(service: Service) -> None:
    content = book(["id", "day"], [1, "2020-01-01"], [2, "soon"], [3, "2020-01-03"], sheet="Days")
    contract = {"fields": [{"name": "id", "type": "integer"}, {"name": "day", "type": "date"}]}
    options = {"contract": json.dumps(contract), "table": "fixed"}
    answer = service.upload(content, "days.xlsx", **options).json()
    cells = service.json(answer["links"]["bad_cells"])
    (cell,) = cells["cells"]
    assert (cells["rows"], cells["truncated"]) == (1, False)
    assert cell == {
        "row": 3, "address": "Days!B3", "column": "day", "rule": "type-error", "value": "soon",
        "message": cell["message"],
    }  # fmt: skip
    download = service.client.get(answer["links"]["rejects"])
    assert 'filename="days.rejects.xlsx"' in download.headers["content-disposition"]
    rejected = openpyxl.load_workbook(io.BytesIO(download.content))
    rejected.active["D2"] = "tomorrow"
    again = service.upload(_saved(rejected), "days.rejects.xlsx", contract=options["contract"]).json()
    assert service.json(again["links"]["bad_cells"])["cells"][0]["address"] == "Days!B3"
    rejected.active["D2"] = "2020-01-02"
    last = service.upload(_saved(rejected), "days.rejects.xlsx", contract=options["contract"]).json()
    assert last["rejects"]["rows"] == 0
    assert [n for (n,) in service.rows("select id from fixed order by day")] == [1, 2, 3]


def test_report_of_an_earlier_import_names_no_file(service: Service) -> None:
    content = book(["n"], [1], ["=1/0"], [2])
    for outcome in ("published", "already-imported"):
        answer = service.upload(content, "earlier.xlsx").json()
        assert answer["outcome"] == outcome
    imported, rejected = service.json(f"/runs/{answer['run_id']}/report")["notes"]
    assert imported.startswith("already imported by run ")
    assert imported.endswith("; again=true loads it again")
    assert rejected == "1 row was rejected then"


def test_list_of_bad_cells_of_a_check(service: Service) -> None:
    """A check publishes nothing and lists its bad cells like a load; an error cell has no value."""
    contract = {"fields": [{"name": "n", "type": "integer"}, {"name": "m", "type": "integer"}]}
    files = {"file": ("checked.xlsx", book(["n", "m"], [1, 1.5], ["=1/0", 2]))}
    checked = service.client.post("/check", params={"contract": json.dumps(contract)}, files=files).json()
    listed = service.json(f"/runs/{checked['run_id']}/rejects")
    found = [(cell["address"], cell["column"], cell["value"]) for cell in listed["cells"]]
    assert found == [("Data!B2", "m", "1.5"), ("Data!A3", "n", None)]


def _saved(workbook: Any) -> bytes:
    content = io.BytesIO()
    workbook.save(content)
    return content.getvalue()


# ---- INSPECT, CHECK, MAP ----------------------------------------------------------------------------------------


def test_inspect_says_what_check_and_upload_will_do(service: Service) -> None:
    found = service.upload(SAMPLE, "Firms.xlsx", "/inspect").json()
    assert [s["name"] for s in found["sheets"]] == ["Businesses"]
    assert (found["header_row"], found["rows"]["data"], len(found["columns"])) == (1, 10_000, 9)
    assert found["columns"][0]["header"] == "Name"
    assert found["columns"][0]["kinds"] == {"text": 9_998, "error": 1}
    assert found["sample"][0]["row"] == 2
    assert {p["address"] for p in found["problems"]} >= {"Businesses!A1202", "Businesses!B5602"}
    assert found["suggested_table"] == "firms"
    upload = found["upload"]["id"]
    checked = service.client.post("/check", params={"upload": upload}).json()
    assert (checked["outcome"], checked["stats"]["error_count"]) == ("checked", 3)
    assert checked["upload"]["id"] == upload
    assert service.rows("select to_regclass('firms')::text") == [(None,)]
    loaded = service.client.post("/upload", params={"upload": upload}).json()
    assert (loaded["outcome"], loaded["stats"]["error_count"]) == ("published", 3)
    assert service.client.delete(f"/uploads/{upload}").json() == {"message": "removed"}
    assert service.client.post("/inspect", params={"upload": upload}).status_code == 404


def test_inspect_of_another_sheet_and_header(service: Service) -> None:
    workbook = openpyxl.Workbook()
    workbook.active.title = "First"
    second = workbook.create_sheet("Second")
    for row in (["Report"], ["a", "b"], [1, 2]):
        second.append(row)
    upload = service.upload(_saved(workbook), path="/uploads").json()["upload"]["id"]
    found = service.client.post("/inspect", json={"upload": upload, "sheet": "Second", "header_row": 2}).json()
    assert [c["header"] for c in found["columns"]] == ["a", "b"]
    missing = service.client.post("/inspect", json={"upload": upload, "sheet": "Third"})
    assert (missing.status_code, missing.json()["type"]) == (422, "SheetError")


@pytest.fixture
def people(service: Service) -> str:
    """An upload: columns Full name, Town, nothing, Town."""
    content = book(["Full name", "Town", None, "Town"], ["Ada", "Bern", 7, "Zug"], ["Ben", "Chur", 8, "Genf"])
    upload: str = service.upload(content, "people.xlsx", "/uploads").json()["upload"]["id"]
    return upload


def test_mapping_to_a_table(service: Service, people: str) -> None:
    service.upload(book(["name", "city", "age", "note"], ["Zoe", "Thun", 9, "x"]), "residents.xlsx")
    listed = {t["name"]: t for t in service.json("/tables")["tables"]}
    table = listed["residents"]
    assert [(c["name"], c["type"]) for c in table["columns"]][2] == ("age", "bigint")
    mapping = {"A": "name", "D": "city", "C": "age", "B": None}
    options = {"upload": people, "table": table["quoted"], "mapping": mapping}
    assert service.client.post("/check", json=options).json()["stats"]["success_count"] == 2
    assert service.client.post("/upload", json=options).json()["outcome"] == "published"
    assert service.rows("select name, city, age, note from residents order by name") == [
        ("Ada", "Zug", 7, None), ("Ben", "Genf", 8, None), ("Zoe", "Thun", 9, "x"),
    ]  # fmt: skip
    wrong = service.client.post("/check", json=options | {"mapping": {"A": "nickname"}})
    assert (wrong.status_code, wrong.json()["choice"]) == (422, "its columns: name, city, age, note")
    assert service.client.post("/check", json=options | {"mapping": {"Z": "name"}}).status_code == 422
    assert service.client.post("/check", json=options | {"mapping": {"A": "name", "B": "name"}}).status_code == 400


def test_mapping_to_a_contract_and_to_a_new_table(service: Service, people: str) -> None:
    contract = {
        "fields": [{"name": "who", "constraints": {"maxLength": 3}}, {"name": "years", "type": "integer"}],
        "primaryKey": ["who"],
    }
    mapping = {"A": "who", "C": "years"}
    options = {"upload": people, "table": "mapped_contract", "mapping": mapping, "contract": contract}
    assert service.client.post("/upload", json=options).json()["outcome"] == "published"
    assert service.rows("select who, years from mapped_contract order by 1") == [("Ada", 7), ("Ben", 8)]
    new = {"upload": people, "table": "mapped_new", "mapping": {"A": "who", "B": "from", "D": "to"}}
    assert service.client.post("/upload", json=new).json()["outcome"] == "published"
    assert service.rows('select who, "from", "to" from mapped_new order by 1') == [
        ("Ada", "Bern", "Zug"), ("Ben", "Chur", "Genf"),
    ]  # fmt: skip


def test_mapping_to_a_new_table_keeps_what_the_texts_are(service: Service) -> None:
    """Columns that get another name are parsed, and have the types that were asked for, like all others."""
    rows = [[f"{n}.01.2024", f"1.1{n},00-", "abc" if n == 13 else n, n] for n in range(13, 25)]
    upload = service.upload(book(["day", "sum", "n", "rate"], *rows), "texts.xlsx", "/uploads").json()["upload"]["id"]
    mapping = {"A": "on_day", "B": "n", "C": "number", "D": "rate"}
    options = {"upload": upload, "table": "mapped_texts", "mapping": mapping, "parse_texts": True}
    options["types"] = {"n": "integer", "rate": "numeric(9,3)"}
    answer = service.client.post("/upload", json=options).json()
    assert (answer["outcome"], answer["stats"]["error_count"]) == ("published", 1)
    assert service.rows("select on_day::text, n, number, rate::text from mapped_texts order by 1 limit 1") == [
        ("2024-01-14", -1114.0, 14, "14.000")
    ]


def test_mapping_that_says_nothing_is_the_same_import(service: Service) -> None:
    upload = service.upload(numbers(1, 3), "same.xlsx", "/uploads").json()["upload"]["id"]
    options = {"upload": upload, "table": "same", "mapping": {"A": "n", "B": "word"}}
    assert service.client.post("/upload", json=options).json()["outcome"] == "published"
    assert service.client.post("/upload", json=options).json()["outcome"] == "already-imported"
    assert (
        service.client.post("/upload", json={"upload": upload, "table": "same"}).json()["outcome"] == "already-imported"
    )


def test_mapping_that_a_contract_already_says(service: Service) -> None:
    """The contract stays that of the run: its types hold."""
    contract = {"fields": [{"name": "n", "type": "string"}, {"name": "word", "type": "string"}]}
    options = {"table": "said", "mapping": json.dumps({"A": "n", "B": "word"}), "contract": json.dumps(contract)}
    answer = service.upload(numbers(1, 3), "said.xlsx", **options)
    assert (answer.status_code, answer.json().get("outcome")) == (200, "published"), answer.text
    assert service.rows("select n from said order by 1") == [("1",), ("2",), ("3",)]


def test_contracts_of_the_service(service: Service) -> None:
    (contract,) = service.json("/contracts")["contracts"]
    assert (contract["name"], contract["error"]) == ("businesses", None)
    assert {"name": "email", "title": "Email", "type": "string", "required": True} in contract["fields"]
    assert service.json("/contracts/businesses")["fields"]
    assert service.client.get("/contracts/nothing").status_code == 404
    answer = service.upload(SAMPLE, contract="businesses", table="by_contract").json()
    assert answer["stats"]["error_count"] == 13
    by_file = (DATA / "businesses.schema.json").read_bytes()
    same = service.upload(SAMPLE, contract=("my.json", by_file, "application/json"), table="by_contract").json()
    assert same["outcome"] == "already-imported"
    broken = service.upload(SAMPLE, contract=("my.yaml", b"fields: {", "text/yaml"), table="by_contract")
    assert (broken.status_code, broken.json()["type"]) == (422, "ContractError")
    assert str(service.folder) not in broken.text


# ---- NAMES ------------------------------------------------------------------------------------------------------

NAMES = {
    "../../x.xlsx": "x", "..\\..\\y.xlsx": "y", "/etc/z.xlsx": "z", "C:\\my files\\w w.xlsx": "w_w",
    ".hidden.xlsx": "hidden", "?.xlsx": "workbook", "Ünï 文件.XLSX": "ünï_文件", "a'; drop table x;--.xlsx": "a_drop_table_x",
    f"{'long' * 60}.xlsx": ("long" * 60)[:63],
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda name: NAMES[name][:12])
def test_names_are_no_paths(service: Service, name: str) -> None:
    table = NAMES[name]
    answer = service.upload(numbers(1, 2), name)
    assert answer.status_code == 200, answer.text
    assert answer.json()["run"]["table"].endswith(f".{table}")
    assert service.rows(f'select count(*) from "{table}"') == [(2,)]
    above = {p.name for p in service.folder.parent.iterdir()} | {p.name for p in service.folder.iterdir()}
    assert not above & {"x.xlsx", "y.xlsx", "z.xlsx"}


def test_table_names_are_quoted(service: Service) -> None:
    name = 'x"; drop table twice; --'
    answer = service.upload(numbers(1, 2), table='"' + name.replace('"', '""') + '"')
    assert answer.status_code == 200, answer.text
    assert service.rows(f'select count(*) from "{name.replace(chr(34), chr(34) * 2)}"') == [(2,)]
    for bad in ("a.b.c", "importer.runs", "pg_catalog.pg_class", "nowhere.t"):
        assert service.upload(numbers(1, 2), table=bad).status_code in {400, 403, 422}


# ---- RUNS -------------------------------------------------------------------------------------------------------


def test_runs_are_jobs(service: Service) -> None:
    answer = service.upload(numbers(1, 3000), "job.xlsx", "/upload?wait=false")
    assert answer.status_code == 202
    address = answer.headers["location"]
    assert address == answer.json()["links"]["run"]
    with service.client.stream("GET", f"{address}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        told = list(events(stream))
    assert told[-1][0] == "end"
    assert told[-1][1]["run"]["state"] == "done"
    assert {name for name, _ in told[:-1]} <= {"progress", "note"}
    run = service.json(address)
    assert run["report"]["stats"]["success_count"] == 3000
    assert run["run"]["id"] in {r["id"] for r in service.json("/runs", state="done")["runs"]}
    assert service.client.post(f"{address}/resume").status_code == 409
    assert service.client.delete(address).json()["message"] == "forgotten"
    assert service.client.get(address).status_code == 404
    assert service.rows("select count(*) from job") == [(3000,)]


def test_runs_are_listed_by_pages(service: Service) -> None:
    for number in range(3):
        service.upload(numbers(1, 1), f"page{number}.xlsx")
    first = service.json("/runs", limit=2)
    second = service.json("/runs", limit=2, before=first["runs"][-1]["created_at"])
    assert first["more"]
    assert [r["workbook"] for r in first["runs"]] == ["page2.xlsx", "page1.xlsx"]
    assert second["runs"][0]["workbook"] == "page0.xlsx"


def test_eight_uploads_at_once(service: Service) -> None:
    def send(number: int) -> int:
        first = number * 500
        table = "crowd" if number % 2 else f"alone{number}"
        return service.upload(numbers(first, first + 499), f"w{number}.xlsx", table=table).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(send, range(8))) == [200] * 8
    assert service.rows("select count(*), count(distinct n) from crowd") == [(2000, 2000)]
    for number in (0, 2, 4, 6):
        assert service.rows(f"select count(*) from alone{number}") == [(500,)]


def test_the_command_line_sees_the_same_import(service: Service, tmp_path: Path) -> None:
    """The ledger is one: what the service loaded, the command line does not load again."""
    path = tmp_path / "shared.xlsx"
    path.write_bytes(numbers(1, 10))
    assert service.upload(path.read_bytes(), "shared.xlsx").status_code == 200
    assert import_workbook(path, to=service.dsn.text, table="shared").outcome == "already-imported"


def test_the_service_reads_no_workbook_itself(service: Service) -> None:
    service.upload(numbers(1, 2), "itself.xlsx")
    maps = Path(f"/proc/{service.running.process.pid}/maps")
    if not maps.exists():
        pytest.skip("no /proc on this machine")
    assert "polars" not in maps.read_text()
    assert "fastexcel" not in maps.read_text()


def test_described_without_the_internet(service: Service) -> None:
    page = service.client.get("/docs").text
    assert "POST /upload" in page.replace("<code>", "")
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert "/upload" in service.json("/openapi.json")["paths"]
    about = service.json("/about")
    assert about["database"] == "external"
    assert about["limits"]["rows"] == 1_048_576


def test_nothing_is_left_of_uploads(service: Service) -> None:
    service.upload(numbers(1, 2), "gone.xlsx")
    service.upload(b"PK no workbook", "gone.xlsx")
    assert not [name for name in service.kept() if "gone" in name]
    wait_for(lambda: not service.json("/runs", state="running")["runs"])
    spools = [p for p in (service.folder / "t").rglob("*") if p.name.startswith("importer-")]
    assert spools == []
