"""Finds the line and column of a value in the text of a contract, from the keys and list positions that lead to it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import yaml

#: A step from an object or a list to what it holds.
KeyPath = tuple[Any, ...]
YAML_SUFFIXES = (".yaml", ".yml")
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+')


class Position(NamedTuple):
    """A position in a text: line and column, both from 1."""

    line: int
    column: int


def find_position(text: str, suffix: str, path: KeyPath) -> Position | None:
    """Return where a value of a contract stands: its key, or the value itself in a list.

    Args:
        text: the text of the contract, well-formed.
        suffix: suffix of its file.
        path: the keys and list positions (from 0) that lead to the value.

    Returns:
        The position of the nearest value around it that the text has; None for another language than YAML and JSON.
    """
    if suffix in YAML_SUFFIXES:
        return _position_in_yaml(text, path)
    best = None
    if suffix != ".toml":
        for at, position in _json_positions(text):
            if at == path[: len(at)]:
                best = position  # what is within it comes later
    return best


def find_repeated(text: str) -> tuple[Any, Position] | None:
    """Return the first key that an object of a JSON text has twice, and where it stands again; None if none has."""
    seen: set[KeyPath] = set()
    for at, position in _json_positions(text):
        if at in seen:
            return at[-1], position
        seen.add(at)
    return None


def _json_positions(text: str) -> Iterator[tuple[KeyPath, Position]]:
    """Yield the path and position of every key, and of every element of a list, in a well-formed JSON text."""
    stack: list[Any] = []  # the position in each open list; the key in each open object, None before the first one
    kinds: list[str] = []
    key_next = False
    for token in _JSON_TOKEN.finditer(text):
        word = token[0]
        if word in {"]", "}"}:
            stack.pop()
            kinds.pop()
            key_next = False
        elif word == ",":
            key_next = kinds[-1] == "{"
            if not key_next:
                stack[-1] += 1
        elif word == ":":
            key_next = False
        elif key_next:
            stack[-1] = json.loads(word)
            yield tuple(stack), _position(text, token.start())
        else:
            if kinds and kinds[-1] == "[":
                yield tuple(stack), _position(text, token.start())
            if word in {"[", "{"}:
                stack.append(0 if word == "[" else None)
                kinds.append(word)
                key_next = word == "{"


def _position(text: str, offset: int) -> Position:
    start = text.rfind("\n", 0, offset) + 1
    return Position(text.count("\n", 0, offset) + 1, offset - start + 1)


def _position_in_yaml(text: str, path: KeyPath) -> Position | None:
    import yaml

    node, found = yaml.compose(text, yaml.SafeLoader), None
    for step in path:
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]
            pair = next(((key, value) for key, value in pairs if key.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            pair = (node.value[step], node.value[step])
        else:
            pair = None
        if pair is None:
            break
        node, found = pair[1], yaml_position(pair[0])
    return found


def yaml_position(node: yaml.Node) -> Position:
    """Return where a node of a YAML text begins."""
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)
