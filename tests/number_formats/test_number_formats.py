"""What number formats say: every class of codes, and the styles part that lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

import fastexcel
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rawbook import MAIN, number, row, write_rows

from importer.excel.addresses import column_letters
from importer.number_formats.builtin import CODES
from importer.number_formats.number_format import FormatKind, NumberFormat, PatternChoice, classify
from importer.number_formats.tokens import split_sections

if TYPE_CHECKING:
    from pathlib import Path

NUMBER, DATETIME, DURATION, TEXT = FormatKind

DATES = [
    # parts of dates, in both cases of letters
    "yyyy-mm-dd", "YYYY-MM-DD", "yyyy\\-mm\\-dd", "d/m/yy", "dd.mm.yyyy", "mmm-yy", "mmmm", "mmmmm", "d", "yy", "m/d",
    "dddd, mmmm dd, yyyy", "ddd", "dddd", "[$-F800]dddd\\,\\ mmmm\\ dd\\,\\ yyyy", "dd/mm/yyyy;@", "yyyy;;",
    "TT.MM.JJJJ", "jj/mm/aaaa", "dd/mm/aaaa", "m", "mm", "D-MMM-YYYY",
    # locales and calendars
    "[$-409]mmm\\-yy;@", "[$-010409]m/d/yyyy", "[$-en-US]d-mmm-yy;@", "[$-D07041E]d/mm/bbbb", "[$-107041E]d mmm yyyy;@",
    "bb", "B1yyyy", "[$-2000000]d/m/yyyy", "[$-x-sysdate]dddd, mmmm dd, yyyy", "[$-,100]d/m/yyyy",
    # eras and weekdays of East Asia
    "[$-411]ge\\.m\\.d;@", '[$]ggge"年"m"月"d"日";@', '[$-411]ggge"年"', "gge", "[$-404]e/m/d", "e", "ee", "[$-411]aaaa;@",
    "[$-804]aaa", "aaa", 'yyyy"年"', 'm"月"d"日"', "[DBNum1][$-804]yyyy\\年m\\月d\\日", "r.m.d", "rr",
    # colours, conditions and literals beside dates
    "[Red]dd/mm/yyyy", "[Color12]yyyy", "[color 3]yyyy", '[=0]"";dd/mm/yyyy', "[>=43831]yyyy-mm-dd;[Blue]d/m", "\\Q\\ yyyy",
    '"Day 0"\\ d', '"#"yyyy', "_-yyyy_-", "* yyyy", 'yyyy"0"', "yyyy-mm-dd 00:00", "dd/mm/yyyy 00:00:00",
    "ว/ด/ปปปป", "ว-ดดด-ปป",
]  # fmt: skip
TIMES = [
    "h:mm", "hh:mm:ss", "h:mm AM/PM", "h:mm:ss am/pm", "h A/P", "hAM/PM", "hh:mmAM/PM", "mm:ss", "mmss.0", "mm:ss.0", "ss.000",
    "h:mm:ss.00;@", "s", "hh", "[$-409]h:mm\\ AM/PM;@", "[$-F400]h:mm:ss\\ AM/PM", 'h"時"mm"分"', '上午/下午h"时"mm"分"',
    "hh\\hmm", 'h "h" mm', "HH:MM", "HH:MM:SS", "AM/PM", "AM/PM mm:ss", "h:mm:ss;@", "[Red]h:mm", "ช:นน:ทท", "h:m:s",
]  # fmt: skip
STAMPS = [
    "yyyy-mm-dd hh:mm:ss", "yyyy\\-mm\\-dd\\ hh:mm:ss.000", "m/d/yy h:mm", "[$-409]m/d/yy h:mm AM/PM;@", "d.m.yyyy h:mm",
    'yyyy-mm-dd"T"hh:mm:ss"Z"', "yyyy-mm-ddThh:mm:ss", "dd/mm/yyyy hh:mm;@", "yyyymmddhhmmss", "mmm d h AM/PM",
    # days and months beside hours
    "h d", "h mmm", "hh\\ yyyy",
]  # fmt: skip
DURATIONS = [
    "[h]:mm", "[hh]:mm:ss", "[m]", "[mm]:ss", "[s]", "[ss].00", "[h]:mm:ss.000", "[H]:MM", "[h]", "[h]:mm;@", "[Red][h]:mm",
    "[$-409][h]:mm:ss;@", '[h]"h "mm"m"', '[>=1][h]"h";[mm]:ss', "[h]:mm;-[h]:mm", "h:mm;[h]:mm", "[ช]:นน:ทท", "[ h ]:mm",
    "d [h]:mm",
]  # fmt: skip
TEXTS = ["@", '"Id "@', "@\\ ", "[Red]@", "@;@", "_(@_)"]
GENERAL = [
    "General", "GENERAL", "general", '""', "", ";;;", ";;;@", ";", '"Yes";"No"', '"closed"', "[Red]General", 'General" kg"',
    "General;-General", "[=1]General;General", 'General\\ "d"', "Standard", "General;General;General;@", "\\d", "_d", "*d", "[Red]",
    "[DBNum1]General", "[$-409]General", '"d"', '"yyyy-mm-dd"', "[$-404]", "General;yyyy-mm-dd", ";;yyyy-mm-dd", '"";0.0', '[=0]"";"x";yyyy', "General;[h]:mm", "General h", "Hauptsache", '"', "\\",
    "_", "*", "[", "[$", "]", "[Foo]", "[d]", "$", "€", "-", "()", ":",
    '@;"none"',
]  # fmt: skip


def kind_of(code: str) -> FormatKind:
    return classify(code).kind


@pytest.mark.parametrize(
    ("codes", "says"),
    [
        (DATES, NumberFormat(DATETIME, has_date=True)),
        (TIMES, NumberFormat(DATETIME, has_time=True)),
        (STAMPS, NumberFormat(DATETIME, has_date=True, has_time=True)),
        (TEXTS, NumberFormat(TEXT)),
        (GENERAL, NumberFormat(NUMBER)),  # or nothing of the number is shown
    ],
    ids=["dates", "times", "stamps", "texts", "general"],
)
def test_classes(codes: list[str], says: NumberFormat) -> None:
    assert {code: classify(code) for code in codes} == dict.fromkeys(codes, says)


def test_durations() -> None:
    assert {code: kind_of(code) for code in DURATIONS} == dict.fromkeys(DURATIONS, DURATION)


NUMBERS: dict[str, dict[str, object]] = {
    "0": {}, "#,##0": {}, "#": {}, "?": {}, "0;(0)": {}, "[Red][<0]0;0": {}, "#,##0_M_M_M;#,##0_M_M_M;_(@_M_M_M": {}, "* #,##0": {},
    '0" mm"': {"pattern": "0\\ \\m\\m"}, "0\\h": {"pattern": "0\\h"}, '"Day "0': {"pattern": "\\D\\a\\y\\ 0"}, "0 h": {"pattern": None},
    "0.00": {"decimals": 2}, "#,##0.00": {"decimals": 2}, "0.0##": {"decimals": 3}, "0.": {}, "#.##": {"decimals": 2}, ".00": {"decimals": 2},
    "[Magenta]0.0": {"decimals": 1}, '#,##0.000\\ "MWh"': {"decimals": 3}, "0.00;[Red]-0.00": {"decimals": 2}, "0.0,": {"decimals": 1},
    '#,##0.0,,"M"': {"decimals": 1}, "#,##0 Mrd": {}, "0.00 d": {"decimals": 2}, "d #,##0": {}, "t0.00": {"decimals": 2}, "t0": {},
    "t#,##0": {}, "0.00 hrs": {"decimals": 2}, "[>=1000]#,##0;0": {}, '[=0]"";0.0': {"decimals": 1}, "0.0;;": {"decimals": 1}, "# ##0": {}, "#\\ ##0.00": {"decimals": 2}, "#\\'##0": {}, "#\\ ##0\\ \\k\\g": {"pattern": "#\\ ##0\\ \\k\\g"},
    "0%": {"percent": True}, "0.00%": {"decimals": 2, "percent": True}, "#,##0.0 %": {"decimals": 1, "percent": True}, '0"%"': {"pattern": "0\\%"},
    "0.00E+00": {"decimals": 2, "scientific": True}, "##0.0E+0": {"decimals": 1, "scientific": True}, "0e-0": {"scientific": True},
    "0.0############E-0": {"decimals": 13, "scientific": True},
    "# ?/?": {"decimals": None, "fraction": True}, "# ??/??": {"decimals": None, "fraction": True}, "0/16": {"decimals": None, "fraction": True},
    "[$€-407] #,##0.00": {"decimals": 2, "currency": True}, "[$S/.-280A]\\ #,##0.00": {"decimals": 2, "currency": True},
    "[$SAR]\\ #,##0": {"currency": True}, '"$"#,##0.00_);\\("$"#,##0.00\\)': {"decimals": 2, "currency": True}, "$#,##0": {"currency": True},
    '#,##0.00\\ "kr."': {"decimals": 2, "currency": True}, "#,##0.00\\ \\E\\U\\R": {"decimals": 2, "currency": True},
    "0.00 USD": {"decimals": 2, "currency": True}, "CHF 0.00": {"decimals": 2, "currency": True}, "DM 0.00": {"decimals": 2},
    "- DM 0.00": {"decimals": 2},
    "#,##0.00 €": {"decimals": 2, "currency": True}, "¥#,##0": {"currency": True}, "#,##0.00 zł": {"decimals": 2, "currency": True},
    '_-"ms"* 0': {"pattern": "\\m\\s0"}, "[$-409]#,##0.00": {"decimals": 2}, "[$€]0": {"currency": True}, "€0": {"currency": True},
    '_("$"* #,##0.00_);_("$"* \\(#,##0.00\\);_("$"* "-"??_);_(@_)': {"decimals": 2, "currency": True}, "0000.00": {"decimals": 2},
    "0,000": {}, "00%": {"percent": True}, "00E+00": {"scientific": True}, "000/000": {"decimals": None, "fraction": True},
}  # fmt: skip
PATTERNS = {
    "00": "00", "00000": "00000", "000;-000": "000", "#000": "000", "#####": None, "##0": None, "0##": "000", "#0#": "00", "0" * 255: "0" * 255,
    "00000\\-0000": "00000\\-0000", "000\\-00\\-0000": "000\\-00\\-0000", '"A-"0000': "\\A\\-0000", "00-00": "00\\-00", "00 00": "00\\ 00",
    "\\A0": "\\A0", "(000) 000-0000": "\\(000\\)\\ 000\\-0000", "###\\-####": "#\\-####", "[Red]0000": "0000", "[$-409]000": "000",
    "_-* 0000_-": "0000", '"DE"000000000': "\\D\\E000000000", "\\R0000": "\\R0000", '"0"00': "\\000", '"#"0': "\\#0", "'0": None,
    "[$-2000000]000": None, "[$-1000409]000": "000", "[DBNum1]000": None, "[NatNum1]000": None, "[$-D07041E]000": None, "???": None, "0?": None, "0" * 256: None,
    "00\\.00": "00\\.00", "00:00": "00\\:00", '00"h"': "00\\h", "€00": "\\€00", "€0": None, "000;;": "000", "00000;[Red](00000);General": "00000",
}  # fmt: skip


def always(pattern: object) -> tuple[PatternChoice, ...]:
    return (PatternChoice("", 0.0, str(pattern)),) if pattern else ()


def test_numbers() -> None:
    says = {code: {"decimals": 0, "patterns": always(each.get("pattern"))} | each for code, each in NUMBERS.items()}
    expected = {code: {key: each[key] for key in each if key != "pattern"} for code, each in says.items()}
    assert {code: classify(code) for code in NUMBERS} == {
        code: NumberFormat(NUMBER)._replace(**each)  # type: ignore[arg-type]
        for code, each in expected.items()
    }


def test_digit_patterns() -> None:
    found = {code: (kind_of(code), classify(code).patterns) for code in PATTERNS}
    assert found == {code: (NUMBER, always(pattern)) for code, pattern in PATTERNS.items()}


@pytest.mark.parametrize(
    ("code", "choices"),
    [
        ("[<=99999]00000;00000\\-0000", [("<=", 99999.0, "00000"), ("", 0.0, "00000\\-0000")]),
        ("[<=9999999]###\\-####;\\(###\\)\\ ###\\-####", [("<=", 9999999.0, "#\\-####"), ("", 0.0, "\\(#\\)\\ ###\\-####")]),
        ("[<100]000;[>=1E3]0000;General", [("<", 100.0, "000"), (">=", 1000.0, "0000"), ("", 0.0, None)]),
        ("[Red][>5] 00;0.0", [(">", 5.0, "\\ 00"), ("", 0.0, None)]),
        ('[>5]"big";00', [(">", 5.0, None), ("", 0.0, "00")]),
        ("[=-1]00;[<>0]000", [("=", -1.0, "00"), ("<>", 0.0, "000")]),
    ],
)  # fmt: skip
def test_digit_patterns_with_conditions(code: str, choices: list[tuple[str, float, str | None]]) -> None:
    assert list(classify(code).patterns) == choices


@pytest.mark.parametrize(
    ("ids", "kind", "date", "time"),
    [
        ([*range(14), 37, 38, 39, 40, 41, 42, 43, 44, 48, 59, 60, 61, 62, 67, 68, 69, 70], NUMBER, False, False),
        ([14, 15, 16, 17, 27, 28, 29, 30, 31, 36, 50, 51, 52, 53, 54, 57, 58, 71, 72, 73, 74, 81], DATETIME, True, False),
        ([18, 19, 20, 21, 32, 33, 45, 47, 75, 76, 78, 80], DATETIME, False, True),
        ([22, 34, 35, 55, 56, 77], DATETIME, True, True),
        ([46, 79], DURATION, False, True),
        ([49], TEXT, False, False),
    ],
)  # fmt: skip
def test_built_in_formats(ids: list[int], kind: FormatKind, *, date: bool, time: bool) -> None:
    assert {i: classify(CODES[i])[:3] for i in ids} == dict.fromkeys(ids, (kind, date, time))


def test_every_built_in_format_is_listed() -> None:
    assert sorted(CODES) == [*range(23), *range(27, 63), *range(67, 82)]


#: Codes that the engine takes for something else (D: a date or time, N: a number).
ENGINE_FAULTS = {
    "bb": "N", "e": "N", "ee": "N", "rr": "N", "aaa": "N", "gge": "N", '[$-411]ggge"年"': "N", "[$-411]aaaa;@": "N", "[$-804]aaa": "N",
    '[=0]"";dd/mm/yyyy': "N", "ว/ด/ปปปป": "N", "ว-ดดด-ปป": "N", "ช:นน:ทท": "N", "[ช]:นน:ทท": "N", "h:mm;[h]:mm": "D", "[ h ]:mm": "D",
    "d [h]:mm": "D", "Standard": "D", "Hauptsache": "D", "0 h": "D", "#,##0 Mrd": "D", "0.00 d": "D", "d #,##0": "D", "0.00 hrs": "D",
    "0.00 USD": "D", "CHF 0.00": "D", "DM 0.00": "D", "- DM 0.00": "D",
}  # fmt: skip


def test_the_engine_agrees_but_for_its_faults(tmp_path: Path) -> None:
    codes = sorted({*DATES, *TIMES, *STAMPS, *DURATIONS, *GENERAL, *NUMBERS, *PATTERNS})
    listed = "".join(f"<numFmt numFmtId='{200 + n}' formatCode={quoteattr(code)}/>" for n, code in enumerate(codes))
    styles = "".join(f"<xf numFmtId='{200 + n}'/>" for n in range(len(codes)))
    cells = row(1, *(number(f"{column_letters(n)}1", 45000.5, n) for n in range(len(codes))))
    part = f"<styleSheet xmlns='{MAIN}'><numFmts>{listed}</numFmts><cellXfs>{styles}</cellXfs></styleSheet>"
    path = write_rows(tmp_path / "b.xlsx", cells, parts={"xl/styles.xml": part})
    columns = fastexcel.read_excel(str(path)).load_sheet(0, header_row=None).selected_columns
    letters = {"float": "N", "datetime": "D", "date": "D", "duration": "E"}
    ours = {NUMBER: "N", DATETIME: "D", DURATION: "E"}
    found = {code: letters[column.dtype] for code, column in zip(codes, columns, strict=True)}
    assert {code: letter for code, letter in found.items() if letter != ours[kind_of(code)]} == ENGINE_FAULTS


#: What codes are made of, so that random ones are nearly right.
PIECES = [
    *'0#?.,%/@;"\\_*[] -+eEymdhsgbraAP$€', "General", "AM/PM", "A/P", "E+0", "[Red]", "[>=1]", "[<", "[$-409]", "[$€-407]", "[h]", "[ss]",
    '"x"', "yyyy", "aaa", "[DBNum1]", "\n", "\0", "年", "[$", "[>1e999]", "[=1.2.3]", "[<=-]", "[>.]",
]  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=20).map("".join)))
def test_no_text_is_refused(code: str) -> None:
    classify(code)
    shown = "".join(token.text for section in split_sections(code) for token in section)
    assert len(shown) <= len(code)
