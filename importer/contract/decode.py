"""Decodes the text of a contract (JSON, YAML or TOML), and refuses one that gives a key twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from importer.errors import ContractError

from .positions import YAML_SUFFIXES, Position, find_repeated, yaml_position

if TYPE_CHECKING:
    import yaml


def decode(text: str, suffix: str, file: str) -> Any:
    """Return the decoded descriptor.

    Args:
        text: text of the file.
        suffix: suffix of the file, in lower case; JSON if it is neither YAML's nor TOML's.
        file: name of the file, for messages.

    Raises:
        ContractError: the text is not well-formed, or an object has a key twice, of which the last would silently hold.
    """
    try:
        descriptor, repeated = _decode(text, suffix)
    except json.JSONDecodeError as exc:
        place = f"{locate(file, Position(exc.lineno, exc.colno))}: {exc.msg}"
        raise ContractError("the contract is not well-formed", place=place) from None
    except (ValueError, RecursionError) as exc:
        raise ContractError("the contract is not well-formed", place=f"{file}: {_one_line(exc)}") from None
    if repeated is not None:
        key, position = repeated
        raise ContractError(
            f"the key {key!r} occurs twice in one object", place=locate(file, position), choice="remove one of them"
        )
    return descriptor


def locate(file: str, position: Position | None) -> str:
    """Return `file:line:column`, or `file` if the position is not known."""
    return file if position is None else f"{file}:{position.line}:{position.column}"


def _decode(text: str, suffix: str) -> tuple[Any, tuple[Any, Position] | None]:
    """Return the decoded text, and the first key that an object has twice with its second position."""
    if suffix in YAML_SUFFIXES:
        return _decode_yaml(text)
    if suffix == ".toml":
        import tomllib

        return tomllib.loads(text), None  # which refuses repeated keys
    repeated = False

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        found = dict(pairs)
        repeated = repeated or len(found) < len(pairs)
        return found

    descriptor = json.loads(text, object_pairs_hook=unique)
    return descriptor, find_repeated(text) if repeated else None


def _decode_yaml(text: str) -> tuple[Any, tuple[Any, Position] | None]:
    import yaml

    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None, None
        # Before it is constructed, which writes merged keys (`<<`) into the nodes.
        repeated = _find_repeated_node(root)
        return loader.construct_document(root), repeated
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        at = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise ValueError(f"{at}{exc.problem or exc}") from None
    except yaml.YAMLError as exc:
        raise ValueError(str(exc)) from None
    finally:
        loader.dispose()


def _find_repeated_node(root: yaml.Node) -> tuple[Any, Position] | None:
    """Return a key that a mapping has twice; a node is looked at once, however many aliases it has."""
    import yaml

    left, seen = [root], set()
    while left:
        node = left.pop()
        if id(node) in seen or isinstance(node, yaml.ScalarNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            left += node.value
            continue
        keys: set[tuple[str, str]] = set()
        for key, value in node.value:
            left += [key, value]
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in keys:
                    return key.value, yaml_position(key)
                keys.add((key.tag, key.value))
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
