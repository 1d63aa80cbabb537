"""The options of `importer serve` become the settings of the service, each under its own name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
from click.testing import CliRunner
from support.serving import short_folder

from importer.cli.options import serve_options
from importer.serve.config import Config
from importer.settings import MIB

GIVEN = {
    "host": ("127.0.0.9", "127.0.0.9"), "port": (9, 9), "token": ("t" * 16, "t" * 16), "to": ("host=/nowhere", None),
    "allow-host": ("a.example", None), "allow-tables": ("shop.*", None), "concurrency": (3, 3), "queue": (4, 4),
    "max-upload": (5, 5 * MIB), "max-inflated": (6, 6 * MIB), "max-rows": (7, 7), "max-columns": (8, 8),
    "memory": (64, 64 * MIB), "timeout": (10, 10.0), "idle": (11, 11.0), "workers": (12, 12), "folder": ("/f", Path("/f")),
}  # fmt: skip
FIELDS = {
    "max-upload": "upload_bytes", "max-inflated": "inflated_bytes", "memory": "memory_bytes", "max-rows": "rows",
    "max-columns": "columns", "timeout": "seconds", "idle": "idle_seconds",
}  # fmt: skip


def config(*arguments: str) -> Config:
    """The settings that a command line means."""
    found: list[Config] = []
    command = click.command()(serve_options(lambda **options: found.append(Config.from_options(**options))))
    ran = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return found[0]


def test_each_option_sets_its_field(tmp_path: Path) -> None:
    arguments = [part for name, (text, _) in GIVEN.items() for part in (f"--{name}", str(text))]
    made = config(*arguments, "--contracts", str(tmp_path))
    fields = {FIELDS.get(name, name): value for name, (_, value) in GIVEN.items() if value is not None}
    assert {name: getattr(made, name) for name in fields} == fields
    assert made.dsn is not None
    assert (made.dsn.text, made.contracts) == ("host=/nowhere", tmp_path.resolve())
    assert (made.allow_hosts, made.allow_tables) == (("a.example",), ("shop.*",))


def test_options_that_are_not_given_leave_the_defaults() -> None:
    with short_folder() as folder:
        made = config("--folder", str(folder), "--to", "host=/nowhere")
        plain = Config(folder=folder.resolve(), dsn=made.dsn)
    assert dataclasses.asdict(made) == dataclasses.asdict(plain)
