"""Owns the built-in number formats: ids that a workbook uses without giving their codes.

The ids and codes are those of ECMA-376 part 1, 18.8.30, with Excel's own codes where it differs ([MS-OE376] 2.1.739).
Ids 27-36 and 50-58 have other codes in each East Asian language, 59-81 are those of Thai; all codes of one id are of
one class, so one of them stands for all.
"""

from __future__ import annotations

_DATE, _TIME, _DATE_AND_TIME = "yyyy/m/d", "h:mm:ss", "yyyy/m/d h:mm"

CODES: dict[int, str] = {
    0: "General", 1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00",
    5: '"$"#,##0_);\\("$"#,##0\\)', 6: '"$"#,##0_);[Red]\\("$"#,##0\\)',
    7: '"$"#,##0.00_);\\("$"#,##0.00\\)', 8: '"$"#,##0.00_);[Red]\\("$"#,##0.00\\)',
    9: "0%", 10: "0.00%", 11: "0.00E+00", 12: "# ?/?", 13: "# ??/??",
    14: "m/d/yyyy", 15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy",
    18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss", 22: "m/d/yyyy h:mm",
    **dict.fromkeys((27, 28, 29, 30, 31, 36), _DATE), **dict.fromkeys((32, 33), _TIME),
    # A time of day in Chinese; a year and month, or a month and day, in Japanese and Korean.
    **dict.fromkeys((34, 35), _DATE_AND_TIME),
    37: "#,##0_);(#,##0)", 38: "#,##0_);[Red](#,##0)", 39: "#,##0.00_);(#,##0.00)", 40: "#,##0.00_);[Red](#,##0.00)",
    41: '_(* #,##0_);_(* \\(#,##0\\);_(* "-"_);_(@_)', 42: '_("$"* #,##0_);_("$"* \\(#,##0\\);_("$"* "-"_);_(@_)',
    43: '_(* #,##0.00_);_(* \\(#,##0.00\\);_(* "-"??_);_(@_)',
    44: '_("$"* #,##0.00_);_("$"* \\(#,##0.00\\);_("$"* "-"??_);_(@_)',
    45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0", 48: "##0.0E+0", 49: "@",
    **dict.fromkeys((50, 51, 52, 53, 54, 57, 58), _DATE), **dict.fromkeys((55, 56), _DATE_AND_TIME),
    59: "0", 60: "0.00", 61: "#,##0", 62: "#,##0.00", 67: "0%", 68: "0.00%", 69: "# ?/?", 70: "# ??/??",
    71: "d/m/yyyy", 72: "d-mmm-yy", 73: "d-mmm", 74: "mmm-yy", 75: "h:mm", 76: "h:mm:ss", 77: "d/m/yyyy h:mm",
    78: "mm:ss", 79: "[h]:mm:ss", 80: "mm:ss.0", 81: "d/m/bb",
}  # fmt: skip
