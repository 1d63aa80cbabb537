"""A window says whether a text may hold the character NUL, so that not all texts of all windows are searched for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.rawbook import inline, row, write_rows
from support.reading import read_cells, reading

if TYPE_CHECKING:
    from pathlib import Path

HEADER = row(1, inline("A1", "k"), inline("B1", "v"))
NUL = {
    "escape": "a_x0000_b",
    "escape of a reference": "a&#95;x0000_b",
    "escape at the end": "longer than the twelve bytes of a view_x0000_",
}


def write(path: Path, cell: str, strings: list[str]) -> Path:
    rows = [row(n, inline(f"A{n}", "plain &amp; simple"), cell.format(n=n) if n == 3 else "") for n in range(2, 6)]
    write_rows(path, HEADER + "".join(rows), strings=strings)
    return path


@pytest.mark.parametrize("text", NUL.values(), ids=NUL)
@pytest.mark.parametrize("form", ["inline", "result", "shared"])
def test_nul(tmp_path: Path, text: str, form: str) -> None:
    cells = {
        "inline": f'<c r="B{{n}}" t="inlineStr"><is><t>{text}</t></is></c>',
        "result": f'<c r="B{{n}}" t="str"><v>{text}</v></c>',
        "shared": '<c r="B{n}" t="s"><v>1</v></c>',
    }
    path = write(tmp_path / "n.xlsx", cells[form], ["<t>a</t>", f"<t>{text}</t>"])
    with reading(path) as source:
        texts = [value for _, value in read_cells(source).values()]
        assert any("\0" in value for value in texts if isinstance(value, str))
        assert source.windows[-1].nul


def test_none(tmp_path: Path) -> None:
    path = write(tmp_path / "n.xlsx", '<c r="B{n}" t="s"><v>1</v></c>', ["<t>a</t>", "<t>_x000D_ &amp;</t>"])
    with reading(path) as source:
        assert not source.windows[-1].nul
