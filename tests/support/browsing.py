"""Looks at the page with Debian's Chromium, as a reader does, and keeps an eye on what must never happen on it."""

from __future__ import annotations

import base64
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect, sync_playwright
from support.serving import XLSX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

#: Where the browser is looked for; Playwright's own is a download, which no test makes.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: No sandbox: tests run as root in CI. The others keep the browser itself from asking for anything on the network.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
DESKTOP, PHONE = (1200, 900), (360, 740)
MILLISECONDS = 120_000
_WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", (e) => violations.push(`${e.violatedDirective} ${e.blockedURI}`));
"""
_DROP = """
(node, files) => {
  const data = new DataTransfer();
  for (const [name, type, content] of files) {
    const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
    data.items.add(new File([bytes], name, { type }));
  }
  for (const type of ["dragenter", "dragover", "drop"]) {
    node.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
  }
}
"""


@dataclass
class Visit:
    """A visit to the page.

    Attributes:
        page: Playwright's.
        url: of the service.
        errors: what the console and the page complained of.
        strangers: addresses on other hosts that were asked for.
    """

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", lambda message: self._heard(message.type, message.text))
        self.page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.add_init_script(_WATCH)

    def _heard(self, kind: str, text: str) -> None:
        # An answer that is an error, or none, is told by the browser itself; whether the page shows it is what tests look at.
        if kind in {"error", "warning"} and not text.startswith("Failed to load resource: "):
            self.errors.append(f"{kind}: {text}")

    def _asked(self, url: str) -> None:
        if not url.startswith((f"{self.url}/", "data:", "blob:")):
            self.strangers.append(url)

    def open(self, path: str = "/") -> Page:
        self.page.goto(f"{self.url}{path}")
        return self.page

    def drop(self, *files: tuple[str, bytes], on: str = "#drop") -> None:
        """Drop files on an element, as from the desktop."""
        packed = [[name, XLSX, base64.b64encode(content).decode()] for name, content in files]
        self.page.locator(on).evaluate(_DROP, packed)

    def choose(self, name: str, content: bytes) -> None:
        """Choose a file by the button, and wait until it is shown what is in it."""
        self.page.set_input_files("#file", {"name": name, "mimeType": XLSX, "buffer": content})
        self.see("#step-target")

    def see(self, selector: str, text: str | None = None) -> None:
        """Wait until an element is there, with that text in it."""
        found = self.page.locator(selector)
        expect(found).to_be_visible(timeout=MILLISECONDS)
        if text is not None:
            expect(found).to_contain_text(text, timeout=MILLISECONDS)

    def load(self, expected: str) -> None:
        """Load what is shown, and wait for the result."""
        self.page.click("#load")
        self.see("#result-title", expected)

    def table(self, selector: str) -> list[list[str]]:
        """The texts of a table's body."""
        rows = self.page.locator(f"{selector} tbody tr").all()
        return [[" ".join(text.split()) for text in row.locator("th, td").all_inner_texts()] for row in rows]

    def save(self, selector: str, folder: Path) -> Path:
        """Click what downloads a file, and keep it."""
        with self.page.expect_download() as download:
            self.page.click(selector)
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path

    def focused(self) -> dict[str, Any]:
        """What the keyboard is at: its id, what it is called, and whether that can be seen."""
        return self.page.evaluate(
            """() => {
              const at = document.activeElement;
              const drawn = getComputedStyle(at.id === "file" ? at.nextElementSibling : at);
              return { id: at.id, tag: at.tagName, outline: drawn.outlineStyle === "none" ? 0 : parseFloat(drawn.outlineWidth) };
            }"""
        )

    def overflow(self) -> int:
        """Pixels by which the page is wider than the screen."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a module.

    It does not outlive the module: Playwright keeps an event loop in this thread, and tests of others may want one.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("Chromium is not installed on this machine (Debian's package: chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def visiting(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Begins visits; at the end of the test none of them may have seen an error, or asked another host."""
    visits: list[Visit] = []

    def begin(url: str, size: tuple[int, int] = DESKTOP, theme: Any = "light") -> Visit:
        screen: Any = {"width": size[0], "height": size[1]}
        context = browser.new_context(viewport=screen, color_scheme=theme, reduced_motion="reduce", locale="en-GB")
        context.set_default_timeout(MILLISECONDS)
        visit = Visit(context.new_page(), url)
        visit.watch()
        visits.append(visit)
        return visit

    yield begin
    for visit in visits:
        violations = visit.page.evaluate("window.violations")
        visit.page.context.close()
        assert (visit.errors, visit.strangers, violations) == ([], [], [])
