"""Tells Airflow that this package has an operator; its entry point is `apache_airflow_provider`."""

from __future__ import annotations

from typing import Any

from importer.version import __version__


def get_provider_info() -> dict[str, Any]:
    """Return what Airflow shows of a provider, by the keys of its `provider_info.schema.json`."""
    return {
        "package-name": "importer",
        "name": "importer",
        "description": "Loads Excel workbooks into PostgreSQL tables, exactly once.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "importer",
                "external-doc-url": "https://www.postgresql.org/docs/current/sql-copy.html",
                "tags": ["software"],
            }
        ],
        "operators": [{"integration-name": "importer", "python-modules": ["importer.integrations.airflow"]}],
    }
