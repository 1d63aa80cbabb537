"""Defines a field: what a contract says of one column's values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Field:
    """A field of the contract; `title` is the header text in the workbook."""

    name: str
    type: str = "string"
    title: str | None = None
    format: str = "default"
    constraints: Mapping[str, Any] = field(default_factory=dict)
    missing_values: tuple[str, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def required(self) -> bool:
        """Whether a missing value is an error."""
        return bool(self.constraints.get("required"))
