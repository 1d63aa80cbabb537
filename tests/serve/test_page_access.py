"""The page for everyone: by keyboard alone, on a phone, in both themes, without findings of axe-core, and by screen reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from support.browsing import PHONE
from support.serving import Service, book, held, numbers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.browsing import Visit

    Visiting = Callable[..., Visit]

#: Best practices are among what is looked at; minor and moderate findings are not errors.
SERIOUS = {"serious", "critical"}
#: Few keys lead from the top of the page to any button; more than these are a trap.
KEYS = 60
BAD = book(["Name", "Amount of money"], ["a", 1], ["b", "two"], ["c", "#N/A"], *[[f"d{n}", n] for n in range(40)])


def findings(visit: Visit) -> list[tuple[str, str, str]]:
    """What axe-core finds that bars people from using the page."""
    found: list[dict[str, Any]] = Axe().run(visit.page).response["violations"]
    return [
        (f["id"], node["html"][:200], node["failureSummary"])
        for f in found
        if f["impact"] in SERIOUS
        for node in f["nodes"]
    ]


def is_fine(visit: Visit) -> None:
    assert findings(visit) == []
    assert visit.overflow() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_has_no_barriers(service: Service, visiting: Visiting, theme: str) -> None:
    """On a phone, in every state that the page can be in: empty, error, all choices, question, loading, result."""
    name = f"axe_{theme}"
    service.upload(book(["name", "amount"], ["x", 1]), f"{name}.xlsx")
    visit = visiting(service.url, PHONE, theme)
    page = visit.open()
    visit.see("#history")
    visit.drop(("letter.docx", b"PK"))
    visit.see("#workbook-error")
    is_fine(visit)

    visit.choose(f"{name}.xlsx", BAD)
    page.click("#options summary")
    page.check("#budget-limit")
    page.fill("#max-rejects", "lots")
    page.select_option("#map-A", "amount")
    page.select_option("#map-B", "amount")
    page.click("#load")
    visit.see("#action-error")
    is_fine(visit)
    page.select_option("#map-A", "name")
    page.check("#budget-any")

    page.check("#mode-replace")
    page.click("#load")
    visit.see("#confirm")
    assert findings(visit) == []
    page.click("#confirm-no")
    page.check("#mode-append")

    with held(service.dsn, name):
        page.click("#load")
        visit.see("#run-stages")
        is_fine(visit)
    visit.see("#bad-cells table")
    page.click("#result summary")
    is_fine(visit)


def test_page_by_keyboard_alone(service: Service, visiting: Visiting, tmp_path: Path) -> None:
    """From the top of the page to the downloaded rejects; where the keyboard is can always be seen."""
    service.upload(book(["name", "amount"], ["x", 1]), "keys.xlsx")
    visit = visiting(service.url)
    visit.page.on("filechooser", lambda _: None)  # choosers are looked for from here on, so that none comes too early
    page = visit.open()
    visit.see("#drop")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # skip to the steps
    _tab_to(visit, "file")
    path = tmp_path / "keys.xlsx"
    path.write_bytes(BAD)
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(path)
    visit.see("#step-target")
    expect(page.locator("#preview-title")).to_be_focused()

    _tab_to(visit, "place-table")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#place-new")).to_be_checked()
    page.keyboard.press("ArrowDown")
    _tab_to(visit, "table")
    page.keyboard.press("Home")
    while not page.locator("#table").input_value().endswith(".keys"):
        before = page.locator("#table").input_value()
        page.keyboard.press("ArrowDown")
        assert page.locator("#table").input_value() != before
    _tab_to(visit, "map-B")
    page.keyboard.type("amount")
    expect(page.locator("#map-B")).to_have_value("amount")
    _tab_to(visit, "load")
    page.keyboard.press("Space")
    visit.see("#result-title", "41 of 43 rows are in")
    expect(page.locator("#result-title")).to_be_focused()
    _tab_to(visit, "download")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "keys.rejects.xlsx"


def _tab_to(visit: Visit, target: str) -> None:
    """Press Tab until that element has the focus."""
    for _ in range(KEYS):
        visit.page.keyboard.press("Tab")
        at = visit.focused()
        assert at["tag"] == "BODY" or at["outline"] >= 2, f"the focus on {at} cannot be seen"
        if at["id"] == target:
            return
    raise AssertionError(f"{KEYS} tabs do not lead to #{target}")


def test_page_usual_case_is_drop_and_load_and_can_be_heard(service: Service, visiting: Visiting) -> None:
    """What happens is said in the live region, once each, in the order in which it happens."""
    visit = visiting(service.url)
    page = visit.open()
    visit.see("#drop")
    page.evaluate(
        """() => {
          window.said = [];
          const place = document.getElementById("said");
          new MutationObserver(() => said.push(place.textContent)).observe(place, { childList: true });
        }"""
    )
    assert page.locator("#said").get_attribute("aria-live") == "polite"
    visit.drop(("plain.xlsx", numbers(1, 1200)))
    visit.see("#action-text", "1,200 rows into the new table plain.")
    visit.load("All 1,200 rows are in the new table ")
    said = page.evaluate("window.said")
    assert said[0] == "Reading the workbook"
    assert said[1].startswith("Found 1,200 rows and 2 columns in sheet")
    assert said[-1].startswith("All 1,200 rows are in")
    assert len(said) == len(set(said))
    assert service.rows("select count(*), sum(n)::bigint from plain") == [(1200, 720_600)]
    visit.see("#history-list", "1,200 rows loaded")


@pytest.mark.parametrize(("theme", "other"), [("light", "dark"), ("dark", "light")])
def test_page_theme_is_the_systems_until_it_is_chosen(
    service: Service, visiting: Visiting, theme: str, other: str
) -> None:
    visit = visiting(service.url, theme=theme)
    page = visit.open()
    paper = {}
    for step in (theme, other):
        expect(page.locator("#theme")).to_have_text(f"{'Light' if step == 'dark' else 'Dark'} colours")
        paper[step] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        if step == theme:
            page.click("#theme")
    brightness = {name: sum(map(int, colour.strip("rgb()").split(","))) for name, colour in paper.items()}
    assert brightness["dark"] < 150
    assert brightness["light"] > 600
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper[other]
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper[theme]
    assert page.evaluate("localStorage.length") == 0
