"""The programs that put a workbook into PostgreSQL, each as the command that its user would write."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

#: The command of a contestant, from the workbooks, the server and the table.
Command = Callable[[list[Path], str, str, bool], list[str]]

#: Types as DuckDB finds them; a column that starts empty is text, else its values would be refused later.
DUCKDB = """
import sys, importlib.util, pathlib, duckdb
table, append, dsn, *books = sys.argv[1:]
base = duckdb.connect(config={"allow_unsigned_extensions": "true"})
for name in ("excel", "postgres_scanner"):
    folder = pathlib.Path(importlib.util.find_spec("duckdb_extension_" + name).origin).parent
    base.load_extension(str(next(folder.rglob("*.duckdb_extension"))))
base.execute(f"ATTACH '{dsn}' AS pg (TYPE postgres)")
for number, book in enumerate(books):
    read = f"SELECT * FROM read_xlsx('{book}', empty_as_varchar = true)"
    if append == "1":
        names = ", ".join('"' + c[0].lower() + '"' for c in base.execute(f"DESCRIBE {read}").fetchall())
        base.execute(f"INSERT INTO pg.public.{table} ({names}) {read}")
    else:
        base.execute((f"INSERT INTO pg.public.{table} " if number else f"CREATE TABLE pg.public.{table} AS ") + read)
"""
#: The driver imports pandas where it is installed, which takes half a second; polars does not need it, so it is hidden.
POLARS = """
import sys
class Hidden:
    def find_spec(name, path=None, target=None):
        if name == "pandas":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden)
import polars as pl
table, append, dsn, *books = sys.argv[1:]
for number, book in enumerate(books):
    frame = pl.read_excel(book)
    if append == "1":
        frame = frame.rename(str.lower)
    mode = "append" if number or append == "1" else "replace"
    frame.write_database(table, dsn, engine="adbc", if_table_exists=mode)
"""
PANDAS = """
import sys, pandas as pd, sqlalchemy
table, append, dsn, *books = sys.argv[1:]
engine = sqlalchemy.create_engine(dsn.replace("postgresql://", "postgresql+psycopg2://", 1))
for number, book in enumerate(books):
    frame = pd.read_excel(book)
    if append == "1":
        frame.columns = [c.lower() for c in frame.columns]
    mode = "append" if number or append == "1" else "fail"
    frame.to_sql(table, engine, index=False, if_exists=mode, method="multi", chunksize=1000)
"""


def _importer(books: list[Path], dsn: str, table: str, append: bool) -> list[str]:
    del append  # its default mode appends to a table that is there
    return [sys.executable, "-m", "importer", "run", *map(str, books), "--to", dsn, "--table", table, "--json"]


def _importer_calamine(books: list[Path], dsn: str, table: str, append: bool) -> list[str]:
    """With the engine that reads all cells, instead of our own decoder."""
    return [*_importer(books, dsn, table, append), "--engine", "calamine"]


def _script(text: str) -> Command:
    def command(books: list[Path], dsn: str, table: str, append: bool) -> list[str]:
        return [sys.executable, "-c", text, table, str(int(append)), dsn, *map(str, books)]

    return command


def _ogr2ogr(books: list[Path], dsn: str, table: str, append: bool) -> list[str]:
    loads = " && ".join(
        f"ogr2ogr -f PostgreSQL 'PG:{dsn}' '{book}' -nln {table} --config PG_USE_COPY YES"
        + (" -append" if number or append else "")
        for number, book in enumerate(books)
    )
    return ["sh", "-c", loads]


#: Contestants by name.
CONTESTANTS: dict[str, Command] = {
    "importer": _importer,
    "importer-calamine": _importer_calamine,
    "duckdb": _script(DUCKDB),
    "polars": _script(POLARS),
    "pandas": _script(PANDAS),
    "ogr2ogr": _ogr2ogr,
}
_MODULES = {"duckdb": "duckdb", "pandas": "pandas"}


def is_here(name: str) -> bool:
    """Whether a contestant is installed."""
    from importlib.util import find_spec

    if name == "ogr2ogr":
        return shutil.which("ogr2ogr") is not None
    return name not in _MODULES or find_spec(_MODULES[name]) is not None
