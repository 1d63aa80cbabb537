"""The page: a workbook dropped, looked at, mapped, checked, loaded, its rejects fixed and loaded, in a real browser."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import openpyxl
import pytest
from openpyxl.worksheet.table import Table
from playwright.sync_api import expect
from support import otherbooks
from support.serving import Service, book, held, kill_all, numbers, serving, short_folder, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.browsing import Visit

    from importer.settings import Dsn

    Visiting = Callable[..., Visit]

DATA = Path(__file__).parents[2] / "data"
SAMPLE = (DATA / "businesses.xlsx").read_bytes()
TOKEN = "correct horse battery"
HOSTILE = "<img src=x onerror=hacked()>"


@pytest.fixture
def visit(service: Service, visiting: Visiting) -> Visit:
    begun = visiting(service.url)
    begun.open()
    begun.see("#drop")
    return begun


# ---- FROM THE DROP TO THE LAST FIXED ROW -----------------------------------------------------------------------


def test_page_drop_map_check_load_fix_and_load_again(service: Service, visit: Visit, tmp_path: Path) -> None:
    """The whole story: into a table whose columns have other names, with one bad row."""
    service.upload(book(["full_name", "amount"], ["Ada", 1]), "ledger.xlsx")
    page = visit.page
    rows = [["Client", "Sum", "Remark"], ["Bea", 20, "x"], ["Cid", "thirty", "y"], ["Dan", 40, None]]
    visit.drop(("march.xlsx", book(*rows, sheet="March")))

    visit.see("#preview-summary", "3 rows and 3 columns in sheet “March”")
    assert visit.table("#preview-table") == [
        ["2", "Bea", "20", "x"],
        ["3", "Cid", "thirty", "y"],
        ["4", "Dan", "40", ""],
    ]
    heads = page.locator("#preview-table thead th").all_inner_texts()
    assert [" ".join(h.split()) for h in heads][1:] == ["A Client text", "B Sum numbers, 1 text", "C Remark text"]

    page.check("#place-table")
    table = page.locator("#table option", has_text=".ledger").get_attribute("value")
    page.select_option("#table", table)
    expect(page.locator("#columns")).to_have_attribute("open", "")
    assert page.locator("#map-A option").all_inner_texts() == [
        "leave it out",
        "full_name (text)",
        "amount (whole number)",
    ]
    page.select_option("#map-A", "full_name")
    page.select_option("#map-B", "amount")
    expect(page.locator("#columns-summary")).to_have_text("2 of 3 columns; left out: Remark")
    expect(page.locator("#action-text")).to_have_text(f"3 rows are added to {table}.")

    page.click("#check")
    visit.see("#result-title", f"2 of 3 rows would be loaded into {table}")
    assert service.rows("select count(*) from ledger") == [(1,)]

    visit.load(f"2 of 3 rows are in {table}")
    assert service.rows("select full_name, amount from ledger order by 2") == [("Ada", 1), ("Bea", 20), ("Dan", 40)]
    figures = dict(
        zip(page.locator(".figures dt").all_inner_texts(), page.locator(".figures dd").all_inner_texts(), strict=True)
    )
    assert [figures[n] for n in ("Rows in the sheet", "Loaded", "Rejected")] == ["3", "2", "1"]
    visit.see("#bad-cells table")
    assert visit.table("#bad-cells")[0][0] == "B3"
    assert visit.table("#bad-cells")[0][3] == "thirty"
    page.click("#result summary:has-text('accounted for')")
    assert visit.table("#result .sums")[-1] == ["All", "8", "4", "0", "2", "2"]

    path = visit.save("#download", tmp_path)
    assert path.name == "march.rejects.xlsx"
    fixed = openpyxl.load_workbook(path)
    cells = {cell.value: cell.column for cell in fixed.active[1]}
    fixed.active.cell(2, cells["Sum"]).value = 30
    fixed.save(path)
    page.set_input_files("#file", path)
    visit.see("#origin", f"rejected from march.xlsx. They go into the same table as the others: {table}.")
    visit.load(f"All 1 row is in {table}")
    assert service.rows("select full_name, amount from ledger order by 2") == [
        ("Ada", 1), ("Bea", 20), ("Cid", 30), ("Dan", 40),
    ]  # fmt: skip


def test_page_contract_from_the_list(service: Service, visit: Visit, tmp_path: Path) -> None:
    """The sample with its contract: 13 rows to fix, all with their addresses; they go in under the same rules."""
    service.sql("DROP TABLE IF EXISTS businesses")
    visit.choose("businesses.xlsx", SAMPLE)
    visit.see("#preview-problems", "3 cells need attention")
    page = visit.page
    page.check("#place-contract")
    page.select_option("#contract", "businesses")
    expect(page.locator("#columns-summary")).to_have_text("All 9 columns are mapped")
    visit.load("9,987 of 10,000 rows are in the new table ")
    visit.see("#bad-cells h4", "13 bad cells")
    addresses = [row[0] for row in visit.table("#bad-cells")]
    assert addresses[:3] == ["A7", "D13", "C19"]
    assert all(re.fullmatch("[A-I][0-9]+", a) for a in addresses)
    page.set_input_files("#file", visit.save("#download", tmp_path))
    visit.see("#origin", "rejected from businesses.xlsx")
    expect(page.locator("#origin-rules")).to_have_value("businesses")
    visit.load("Nothing was loaded: all 13 rows were rejected")
    assert service.rows("select count(*) from businesses") == [(9_987,)]


def test_page_rename_leave_out_and_key(service: Service, visit: Visit) -> None:
    """A new table with other names and a key; a second workbook updates it; replacing is asked about first."""
    page = visit.page
    visit.choose("stock.xlsx", book(["Item", "Count", "Note"], ["nut", 1, "a"], ["bolt", 2, "b"]))
    page.click("#columns summary")
    page.fill("#map-A", "sku")
    page.uncheck("#map-C-in")
    page.check("#mode-upsert")
    page.select_option("#key", "sku")
    visit.load("All 2 rows are in the new table ")
    assert service.rows("select sku, count from stock order by 1") == [("bolt", 2), ("nut", 1)]

    visit.choose("stock.xlsx", book(["SKU", "Count"], ["nut", 5], ["screw", 7]))
    expect(page.locator("#place-table")).to_be_checked()
    page.check("#mode-upsert")
    visit.load("All 2 rows are in ")
    assert service.rows("select sku, count from stock order by 1") == [("bolt", 2), ("nut", 5), ("screw", 7)]

    visit.choose("stock.xlsx", book(["SKU", "Count"], ["cog", 9]))
    page.check("#mode-replace")
    page.click("#load")
    visit.see("#confirm", "This cannot be undone.")
    page.click("#confirm-no")
    assert service.rows("select count(*) from stock") == [(3,)]
    page.click("#load")
    page.click("#confirm-yes")
    visit.see("#result-title", "All 1 row is in ")
    assert service.rows("select sku, count from stock") == [("cog", 9)]


def test_page_wide_sheet_into_a_wide_table(service: Service, visit: Visit) -> None:
    """Lists that are filled only when they are used: 400 of 400 would be 160,000 elements."""
    names = [f"c{n}" for n in range(400)]
    service.upload(book(names, list(range(400))), "wide.xlsx")
    visit.choose("wide.xlsx", book([*names[:-1], "other"], list(range(400))))
    page = visit.page
    expect(page.locator("#columns-summary")).to_have_text("399 of 400 columns; left out: other")
    assert page.locator("#mapping option").count() == 799
    page.focus("#map-OJ")
    page.select_option("#map-OJ", "c399")
    expect(page.locator("#columns-summary")).to_have_text("All 400 columns are mapped")
    visit.load("All 1 row is in")
    assert service.rows("select c0, c398, c399 from wide order by 1") == [(0, 398, 399)] * 2


def test_page_sheet_and_header_row(service: Service, visit: Visit) -> None:
    made = openpyxl.Workbook()
    made.active.append(["nothing here"])
    other = made.create_sheet("Second")
    for row in (["Report of March"], ["who", "what"], ["a", 1], ["b", 2]):
        other.append(row)
    content = io.BytesIO()
    made.save(content)
    visit.choose("sheets.xlsx", content.getvalue())
    page = visit.page
    page.select_option("#sheet", "Second")
    visit.see("#preview-summary", "sheet “Second”")
    page.fill("#header-row", "2")
    page.press("#header-row", "Enter")
    visit.see("#preview-summary", "2 rows and 2 columns")
    page.fill("#new-name", "second")
    visit.load("All 2 rows are in the new table ")
    assert service.rows("select who, what from second order by 1") == [("a", 1), ("b", 2)]


def test_page_part_of_a_sheet(service: Service, visit: Visit) -> None:
    """An Excel table on another sheet, then cells of it; a sheet of two tables offers the other one."""
    made = openpyxl.Workbook()
    for row in (["id", "n"], [1, 2], [3, 4], [5, 6], [], ["code", "rate", "k"], ["a", 0.5, 1]):
        made.active.append(row)
    other = made.create_sheet("Second")
    for row in (["title"], ["who", "what"], ["a", 1], ["b", 2]):
        other.append(row)
    other.add_table(Table(displayName="People", ref="A2:B4"))
    content = io.BytesIO()
    made.save(content)
    visit.choose("parts.xlsx", content.getvalue())
    page = visit.page
    visit.see("#preview-summary", "3 rows and 2 columns")
    assert page.locator("#pieces option").evaluate_all("all => all.map((o) => o.value)") == ["A6:C7", "People"]
    page.fill("#piece", "people")
    page.press("#piece", "Enter")
    visit.see("#preview-summary", "2 rows and 2 columns in sheet “Second”")
    page.fill("#piece", "A2:B3")
    page.press("#piece", "Enter")
    visit.see("#preview-summary", "1 row and 2 columns")
    page.fill("#new-name", "part")
    visit.load("All 1 row is in the new table ")
    assert service.rows("select who, what from part") == [("a", 1)]


def test_page_columns_of_several_kinds_offer_a_choice(service: Service, visit: Visit) -> None:
    """Texts, unless the user takes the main kind and sets the others aside; the last rows are shown, and what mixes."""
    rows = [[n, "n/k" if n == 11 else n / 2] for n in range(1, 13)]
    visit.drop(("kinds.xlsx", book(["id", "amount"], *rows)))
    visit.see("#preview-summary", "12 rows and 2 columns")
    page = visit.page
    shown = [row[0] for row in visit.table("#preview-table")]
    assert shown == ["2", "3", "4", "5", "6", "…", "9", "10", "11", "12", "13"]
    assert page.locator("#preview-table .other").all_inner_texts() == ["n/k"]
    visit.see("#mixed-B-cells", "Amount: 11 numbers, 1 text.")
    assert page.locator("#mixed-B-cells li").all_inner_texts() == ['B12 "n/k"']
    assert page.locator("#mixed-B option").all_inner_texts() == [
        "text: every cell as it is",
        "number: the row of 1 other cell is rejected",
    ]
    page.select_option("#mixed-B", "number")
    page.click("#columns-summary")
    page.fill("#map-B", "sum")
    page.click("#check")
    visit.see("#result-title", "11 of 12 rows would be loaded into")
    expect(page.locator("#load")).to_have_text("Load 11 rows, set 1 aside")
    visit.load("11 of 12 rows are in the new table ")
    assert service.rows("select sum(sum), count(*) from kinds") == [(33.5, 11)]
    visit.drop(("kinds.xlsx", book(["id", "amount"], *rows)))
    page.check("#place-table")
    expect(page.locator("#mixed")).to_be_hidden()


def test_page_same_workbook_is_loaded_once(service: Service, visit: Visit) -> None:
    content = numbers(1, 3)
    for expected in ("All 3 rows are in", "nothing was done"):
        visit.choose("once.xlsx", content)
        visit.load(expected)
    assert service.rows("select count(*) from once") == [(3,)]
    visit.page.click("text=Load it again anyway")
    visit.see("#result-title", "All 3 rows are in")
    assert service.rows("select count(*) from once") == [(6,)]


# ---- WHAT GOES WRONG --------------------------------------------------------------------------------------------


def test_page_nothing_loaded_is_no_success_and_updates_instead(service: Service, visit: Visit) -> None:
    """Rows that are there already: amber, why, and one button; the button of a load says what a check found out."""
    service.upload(book(["id", "name"], [1, "old"], [2, "old"]), "shelf.xlsx")
    service.sql("alter table shelf add primary key (id)")
    visit.drop(("shelf.xlsx", book(["id", "name"], [1, "new"], [2, "new"], [3, None], ["x", "y"])))
    visit.page.check("#place-table")
    visit.page.click("#check")
    visit.see("#result-title", "1 of 4 rows would be loaded into")
    expect(visit.page.locator("#load")).to_have_text("Load 1 row, set 3 aside")
    visit.drop(("shelf.xlsx", book(["id", "name"], [1, "new"], [2, "new"])))
    visit.page.check("#place-table")
    expect(visit.page.locator("#load")).to_have_text("Load 2 rows")
    visit.load("Nothing was loaded: 2 rows are there already")
    expect(visit.page.locator("#step-result")).to_have_attribute("data-state", "empty")
    assert "mode" not in visit.page.locator("#result > .notes").inner_text()
    visit.page.click("text=Update them instead")
    visit.see("#result-title", "All 2 rows are in ")
    assert service.rows("select id, name from shelf order by 1") == [(1, "new"), (2, "new")]


def test_page_hostile_texts_are_shown_as_text(service: Service, visit: Visit) -> None:
    """In a cell, a header, the sheet's name, the file's name, and what is told of a bad cell."""
    service.upload(book(["n", "t"], [1, "a"]), "hostile.xlsx")
    page = visit.page
    page.add_init_script("window.hacked = () => { throw new Error('a cell was run') }")
    visit.open()
    visit.see("#drop")
    visit.drop(
        (f"{HOSTILE}.xlsx", book(["n", f"{HOSTILE} title"], [2, HOSTILE], [HOSTILE, "b"], [3, "c"], sheet=HOSTILE))
    )
    visit.see("#preview-table tbody", HOSTILE)
    visit.see("#preview-table thead", HOSTILE)
    page.check("#place-table")
    page.select_option("#table", page.locator("#table option", has_text=".hostile").get_attribute("value"))
    visit.see("#mapping", HOSTILE)
    page.select_option("#map-B", "t")
    visit.load("2 of 3 rows are in")
    visit.see("#bad-cells table", HOSTILE)
    visit.see("#history-list li:first-child", f"{HOSTILE}.xlsx")
    assert page.locator("img").count() == 1
    assert page.locator("img").get_attribute("src") == "/static/icon.svg"
    assert service.rows("select t from hostile order by n") == [("a",), (HOSTILE,), ("c",)]


def test_page_text_file_that_is_read_as_the_user_says(service: Service, visit: Visit) -> None:
    """What could be read in several ways is shown with a button for each."""
    visit.drop(("places.csv", "id;obec,kraj\n1;Třebíč,x\n2;Žďár,y\n".encode("cp1250")))
    visit.see("#workbook-error .fact", "could be in several encodings")
    visit.page.get_by_role("button", name="Read “Třebíč”").click()
    visit.see("#workbook-error .fact", "delimiter is not clear")
    visit.page.get_by_role("button", name="Semicolons are between the columns").click()
    visit.see("#preview-summary", "2 rows and 2 columns")
    visit.page.fill("#header-row", "1")
    visit.page.press("#header-row", "Enter")
    visit.load("2 rows are in")
    assert service.rows("select * from places order by id") == [(1, "Třebíč,x"), (2, "Žďár,y")]
    visit.drop(("cities.csv", "n,都市\n1,東京\n".encode("cp932")))
    visit.page.get_by_role("button", name="Read “都市”").click()
    visit.see("#preview-summary", "1 row and 2 columns")


def test_page_takes_workbooks_of_other_formats(service: Service, visit: Visit, tmp_path: Path) -> None:
    """Each with a row to fix, which is an .xlsx whatever it comes from and knows its address in the file."""
    rows = [["id", "name"], [1, "a"], [2, otherbooks.Error("#N/A")], [3, "c"]]
    tables = [otherbooks.Table([["x"]], "Secret", hidden=True), otherbooks.Table(rows)]
    for form in ("ods", "xls", "xlsb"):
        path = getattr(otherbooks, f"write_{form}")(tmp_path / f"From {form}.{form.upper()}", tables)
        visit.drop((path.name, path.read_bytes()))
        visit.see("#preview-summary", "3 rows and 2 columns in sheet “Data”")
        visit.load("2 of 3 rows are in")
        visit.see("#bad-cells table", "B3")
        fixed = openpyxl.load_workbook(visit.save("#download", tmp_path))
        fixed.active.cell(2, [cell.value for cell in fixed.active[1]].index("name") + 1).value = "b"
        fixed.save(tmp_path / "fixed.xlsx")
        visit.page.set_input_files("#file", tmp_path / "fixed.xlsx")
        visit.see("#origin", f"rejected from From {form}.")
        visit.load("All 1 row is in")
        assert service.rows(f"select * from from_{form} order by id") == [(1, "a"), (2, "b"), (3, "c")]


def test_page_refused_file_is_told_where_it_was_dropped(visit: Visit) -> None:
    visit.drop(("letter.docx", b"PK"))
    visit.see("#workbook-error", "not a workbook that can be read")
    visit.drop(("a.xlsx", b"a"), ("b.xlsx", b"b"))
    visit.see("#workbook-error", "one workbook at a time")
    visit.drop(("lie.xlsx", b"%PDF-1.7 nothing of a workbook"))
    visit.see("#workbook-error .fact")
    expect(visit.page.locator("#workbook-error .choice")).not_to_be_empty()
    visit.see("#drop")
    expect(visit.page.locator("#step-preview")).to_be_hidden()


def test_page_errors_keep_what_was_typed(service: Service, visit: Visit) -> None:
    service.sql("CREATE TABLE IF NOT EXISTS private_things (n bigint)")
    visit.choose("typed.xlsx", numbers(1, 3))
    page = visit.page
    page.fill("#header-row", "top")
    page.press("#header-row", "Tab")
    visit.see("#header-error", "a row such as 3")
    page.click("#load")
    visit.see("#action-error", "a row such as 3")
    page.fill("#header-row", "5-2")
    page.press("#header-row", "Enter")
    visit.see("#preview-error .fact")
    assert page.input_value("#header-row") == "5-2"
    page.click("#load")
    visit.see("#action-error", "that can be shown first")
    page.fill("#header-row", "900")
    page.press("#header-row", "Enter")
    visit.see("#preview-table", "There are no rows below row 900")
    page.click("#load")
    visit.see("#action-error", "There are no rows to load.")
    page.fill("#header-row", "1")
    page.press("#header-row", "Enter")
    visit.see("#preview-summary", "3 rows")

    page.fill("#new-name", "")
    page.click("#load")
    visit.see("#new-error", "Give the new table a name.")
    assert visit.focused()["id"] == "new-name"

    page.fill("#new-name", "private_things")
    page.click("#options summary")
    page.check("#budget-limit")
    page.fill("#max-rejects", "12%")
    page.click("#load")
    visit.see("#action-error .fact")
    assert (page.input_value("#new-name"), page.input_value("#max-rejects")) == ("private_things", "12%")
    assert service.rows("select count(*) from private_things") == [(0,)]

    page.fill("#new-name", "typed")
    page.click("#columns summary")
    page.fill("#map-B", "n")
    page.click("#load")
    visit.see("#map-B-error", "Column A already fills n.")
    assert visit.focused()["id"] == "map-B"


def test_page_over_the_budget_nothing_is_loaded(service: Service, visit: Visit, tmp_path: Path) -> None:
    service.upload(book(["n"], [1]), "budget.xlsx")
    visit.choose("budget.xlsx", book(["n"], [2], ["x"], ["y"]))
    page = visit.page
    page.click("#options summary")
    page.check("#budget-limit")
    page.fill("#max-rejects", "1")
    page.select_option("#error-cells", "null")
    visit.load("Nothing was loaded")
    visit.see("#result .notice.bad")
    visit.see("#bad-cells", "A3")
    visit.see("#result", "Fix them in budget.xlsx itself")
    expect(page.locator("#download")).to_have_count(0)
    assert service.rows("select n from budget") == [(1,)]
    rejects = visit.save("#result a[download]", tmp_path)
    page.set_input_files("#file", rejects)
    visit.see("#origin", "The good rows of budget.xlsx are not in the table")
    with page.expect_request("**/check") as asked:
        page.click("#check")
    assert asked.value.post_data_json["error_cells"] == "null"  # what the first load was told holds for fixed rows, too
    visit.see("#result-title", "Nothing would be loaded: all 2 rows would be rejected")
    visit.choose("budget.xlsx", book(["n"], [2], ["x"], ["y"]))
    page.check("#budget-limit")
    page.fill("#max-rejects", "2")
    visit.load("1 of 3 rows are in")
    assert service.rows("select n from budget order by 1") == [(1,), (2,)]


def test_page_pasted_file_is_sent_again_when_the_service_dropped_it(service: Service, visit: Visit) -> None:
    with visit.page.expect_response("**/uploads") as sent:
        visit.page.evaluate(
            """(bytes) => {
              const data = new DataTransfer();
              data.items.add(new File([new Uint8Array(bytes)], "dropped.xlsx"));
              document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
            }""",
            list(numbers(1, 9)),
        )
    visit.see("#preview-summary", "9 rows and 2 columns")
    service.client.delete(f"/uploads/{sent.value.json()['upload']['id']}")
    visit.load("All 9 rows are in")
    assert service.rows("select count(*) from dropped") == [(9,)]


# ---- WHILE IT LOADS ---------------------------------------------------------------------------------------------


def test_page_shows_progress_survives_a_reload_and_cancels(service: Service, visit: Visit) -> None:
    service.upload(numbers(1, 5), "slow.xlsx")
    visit.choose("slow.xlsx", numbers(6, 3000))
    page = visit.page
    with held(service.dsn, "slow"):
        page.click("#load")
        visit.see("#run-stage")
        expect(page.locator("#run-stages .present")).to_have_count(1)
        expect(page.locator("#run-bar")).to_have_attribute("value", re.compile(r"[1-9]"))
        page.reload()
        visit.see("#run-what", "slow.xlsx")
        page.click("#cancel")
        visit.see("#result-title", "Cancelled; nothing was loaded")
    assert service.rows("select count(*) from slow") == [(5,)]

    visit.choose("slow.xlsx", numbers(6, 3000))
    page.check("#place-new")
    page.fill("#new-name", "slower")
    page.check("#place-table")
    with held(service.dsn, "slow"):
        page.click("#load")
        visit.see("#cancel")
        page.click("#cancel")
        visit.see("#action-error", "Your choices are as they were.")
    assert page.input_value("#new-name") == "slower"
    visit.load("All 2,995 rows are in")
    assert service.rows("select count(*) from slow") == [(3000,)]


def test_page_token_and_resume_after_a_crash(server: Dsn, service: Service, visiting: Visiting) -> None:
    """A service that asks for a token, dies while it loads, is started again, and goes on from the list."""
    service.sql("DROP TABLE IF EXISTS crash")
    with short_folder() as folder:
        with serving(service.dsn, folder, token=TOKEN) as first:
            first.upload(numbers(1, 5), "crash.xlsx")
            visit = visiting(first.url)
            _sign_in(visit)
            visit.choose("crash.xlsx", numbers(6, 2000))
            with held(service.dsn, "crash"):
                visit.page.click("#load")
                (run,) = wait_for(lambda: first.json("/runs", state="running")["runs"])
                first.until(run["id"], "running", stage="publish")
                kill_all(first.running)
            visit.see("#run-note", "The service does not answer")
        with serving(service.dsn, folder, token=TOKEN) as second:
            visit = visiting(second.url)
            _sign_in(visit)
            visit.see("#history-list", "interrupted")
            visit.page.click("text=Resume")
            visit.see("#result-title", "All 1,995 rows are in")
            assert service.rows("select count(*), count(distinct n) from crash") == [(2000, 2000)]
            for _ in range(2):
                visit.page.locator("#history-list .buttons button").first.click()
                visit.page.click("#confirm-yes")
            expect(visit.page.locator("#history")).to_be_hidden()


def _sign_in(visit: Visit) -> None:
    page = visit.open()
    visit.see("#signin")
    page.fill("#token", "wrong")
    page.press("#token", "Enter")
    visit.see("#signin-error .fact")
    page.fill("#token", TOKEN)
    page.press("#token", "Enter")
    visit.see("#drop")
    page.reload()
    visit.see("#drop")
