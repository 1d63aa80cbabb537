"""Write an Excel workbook as offices keep them: a table of orders, with formats and formulas.

    python data/make_office.py --rows 100000 OUT.xlsx

Three of the twelve columns are formulas with their results. Dates, times, amounts and percentages are numbers with
formats; some names have a bold part; some cells are blank, a few hold an error. The range is an Excel table, and some
of its rows are hidden. xlsxwriter writes it, with shared strings, as Excel does; the bytes are the same every time.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from typing import TYPE_CHECKING, NamedTuple

import xlsxwriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

HEADERS = (
    "Order", "Ordered", "Shipped", "Customer", "Product", "Quantity", "Unit price", "Discount", "Amount", "VAT",
    "Status", "Note",
)  # fmt: skip
PRODUCTS = ("Desk", "Desk lamp", "Office chair", "Shelf", "Filing cabinet", "Whiteboard", "Monitor arm", "Coat stand")
SURNAMES = ("Adams", "Berger", "Costa", "Dubois", "Eriksen", "Fischer", "García", "Horváth", "Ivanova", "Jansen")
NOTES = ("call before delivery", "deliver to the back door", "repeat order", "gift: no invoice in the parcel")
FIRST_DAY = dt.datetime(2019, 1, 1)  # noqa: DTZ001 - a workbook knows no zones
VAT = 0.19
#: Every so many rows a cell is special: an error, a name that is partly bold, a hidden row.
ERROR_ROWS, RICH_ROWS, HIDDEN_ROWS = 4_999, 97, 53


class Formats(NamedTuple):
    """The formats of the workbook's cells."""

    day: Format
    moment: Format
    amount: Format
    percent: Format
    bold: Format


def make(path: str, rows: int) -> None:
    """Write a workbook with so many orders."""
    with xlsxwriter.Workbook(path) as workbook:
        workbook.set_properties({"created": FIRST_DAY})
        formats = Formats(
            workbook.add_format({"num_format": 14}),
            workbook.add_format({"num_format": "dd/mm/yyyy hh:mm"}),
            workbook.add_format({"num_format": '#,##0.00" €"'}),
            workbook.add_format({"num_format": 9}),
            workbook.add_format({"bold": True}),
        )
        sheet = workbook.add_worksheet("Orders")
        sheet.freeze_panes(1, 0)
        columns = [{"header": header} for header in HEADERS]
        sheet.add_table(0, 0, rows, len(HEADERS) - 1, {"name": "Orders", "columns": columns})
        for number in range(rows):
            _write_order(sheet, number, formats)


def _write_order(sheet: Worksheet, number: int, formats: Formats) -> None:
    """Write one order; its values follow from its number."""
    row, excel_row, dice = number + 1, number + 2, number * 2_654_435_761 % (1 << 32)
    ordered = FIRST_DAY + dt.timedelta(days=number // 60)
    quantity, price, discount = 1 + dice % 40, 500 + (dice >> 6) % 90_000, (0, 0, 0.05, 0.1)[dice >> 14 & 3]
    amount = quantity * price / 100 * (1 - discount)
    is_hidden, is_shipped = number % HIDDEN_ROWS == HIDDEN_ROWS - 1, dice >> 16 & 7 != 0
    sheet.write_string(row, 0, f"{ordered.year}-{number:06d}")
    sheet.write_datetime(row, 1, ordered, formats.day)
    if is_shipped:
        sheet.write_datetime(row, 2, ordered + dt.timedelta(minutes=1_440 + dice % 7_200), formats.moment)
    _write_customer(sheet, row, dice, formats)
    sheet.write_string(row, 4, PRODUCTS[dice >> 20 & 7])
    sheet.write_number(row, 5, quantity)
    sheet.write_number(row, 6, price / 100, formats.amount)
    sheet.write_number(row, 7, discount, formats.percent)
    sheet.write_formula(row, 8, f"=F{excel_row}*G{excel_row}*(1-H{excel_row})", formats.amount, amount)
    vat = "#VALUE!" if number % ERROR_ROWS == ERROR_ROWS - 1 else round(amount * VAT, 2)
    sheet.write_formula(row, 9, f"=ROUND(I{excel_row}*{VAT},2)", formats.amount, vat)
    status = "cancelled" if is_hidden else "shipped" if is_shipped else "open"
    sheet.write_formula(row, 10, f'=IF(L{excel_row}="","{status}","{status}")', None, status)
    if dice >> 23 & 7 == 0:
        sheet.write_string(row, 11, NOTES[dice >> 26 & 3])
    if is_hidden:
        sheet.set_row(row, options={"hidden": True})


def _write_customer(sheet: Worksheet, row: int, dice: int, formats: Formats) -> None:
    """Write the customer's name; in some rows a part of it is bold."""
    surname, number = SURNAMES[dice % len(SURNAMES)], dice >> 12
    if row % RICH_ROWS == 0:
        sheet.write_rich_string(row, 3, formats.bold, surname, f" & Sons, no. {number}")
    else:
        sheet.write_string(row, 3, f"{surname} & Sons, no. {number}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Write an Excel workbook of orders, as an office keeps it.")
    parser.add_argument("out", metavar="OUT.xlsx", help="the file to write")
    parser.add_argument("--rows", type=int, default=100_000, help="orders (default: %(default)s)")
    options = parser.parse_args(arguments)
    make(options.out, options.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
