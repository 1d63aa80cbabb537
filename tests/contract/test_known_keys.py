"""A key that nobody knows is refused with the nearest one and its place; so is one that occurs twice."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from importer.contract.known_keys import CONSTRAINTS, DESCRIPTOR_KEYS, FIELD_KEYS, nearest
from importer.contract.loader import load_contract, parse_contract
from importer.errors import ContractError

if TYPE_CHECKING:
    from pathlib import Path

#: Descriptors with a misspelling, and the key that is meant.
TYPOS: list[tuple[dict[str, Any], str]] = [
    ({"fields": [{"name": "x"}], "primarykey": "x"}, "'primaryKey'"),
    ({"fields": [{"name": "x"}], "missing_values": ["-"]}, "'missingValues'"),
    ({"fields": [{"name": "x"}], "postgres": {"table": "t"}}, "'postgresql'"),
    ({"feilds": [{"name": "x"}]}, "'fields'"),
    ({"fields": [{"name": "x", "constraint": {"required": True}}]}, "'constraints'"),
    ({"fields": [{"name": "x", "tpye": "integer"}]}, "'type'"),
    ({"fields": [{"name": "x", "decimal_char": ","}]}, "'decimalChar'"),
    ({"fields": [{"name": "x", "constraints": {"requierd": True}}]}, "'required'"),
    ({"fields": [{"name": "x", "constraints": {"max_length": 3}}]}, "'maxLength'"),
    ({"fields": [{"name": "x", "required": True}]}, "'required' stands in the object 'constraints'"),
    ({"fields": [{"name": "x"}], "table": "t"}, "'table' stands in the object 'postgresql'"),
    ({"fields": [{"name": "x"}], "postgresql": {"tabel": "t"}}, "'table'"),
    ({"fields": [{"name": "x"}], "postgresql": {"extraColumns": [{"name": "e", "identiy": True}]}}, "'identity'"),
    ({"fields": [{"name": "x"}], "foreignKeys": [{"field": "x", "reference": {}}]}, "'fields'"),
    ({"fields": [{"name": "x"}], "foreignKeys": [{"fields": "x", "reference": {"ressource": "t"}}]}, "'resource'"),
    ({"fields": [{"name": "x"}], "excel": {"shet": "A"}}, "'sheet'"),
    ({"fields": [{"name": "x"}], "excel": {"header_row": 3}}, "'headerRow'"),
    ({"fields": [{"name": "x", "type": "strng"}]}, "'string'"),
]


@pytest.mark.parametrize(("descriptor", "meant"), TYPOS, ids=[meant for _, meant in TYPOS])
def test_misspelled_key_is_refused_with_the_right_one(descriptor: dict[str, Any], meant: str) -> None:
    with pytest.raises(ContractError, match="unknown") as caught:
        parse_contract(descriptor)
    assert caught.value.choice is not None
    assert meant in caught.value.choice


def test_key_without_a_neighbour_lists_all() -> None:
    with pytest.raises(ContractError) as caught:
        parse_contract({"fields": [{"name": "x", "constraints": {"zzz": 1}}]})
    assert caught.value.choice is not None
    assert caught.value.choice.startswith("required, unique,")


def test_keys_of_the_standard_and_own_ones_pass() -> None:
    own: dict[str, Any] = {"x-owner": {"any": ["thing"]}}
    field = own | {
        "name": "x", "description": "d", "example": 1, "rdfType": "http://schema.org/x", "categoriesOrdered": True,
        "constraints": {"required": True, "x-why": "because"},
    }  # fmt: skip
    about = {"$schema": "s", "title": "t", "description": "d", "keywords": [], "version": "1"}
    contract = parse_contract(own | about | {"fields": [field], "postgresql": own, "excel": own})
    assert contract.fields[0].constraints == {"required": True}


def test_nearest_ignores_case_and_separators() -> None:
    assert nearest("PRIMARY_KEY", DESCRIPTOR_KEYS) == "primaryKey"
    assert nearest("Min-Length", CONSTRAINTS) == "minLength"
    assert nearest("colour", FIELD_KEYS) is None


JSON = """{
  "fields": [
    {"name": "a", "title": "brackets ] } , : in \\" a text"},
    {"name": "b",
     "constraints": {"pattern": "[0-9]{2}", "requierd": true}}
  ]
}
"""
YAML = """# a comment
fields:
  - name: a
  - {name: b, constraints: {requierd: true}}
"""
#: File, content, and the position that is said.
PLACED = [
    ("c.json", JSON, "5:45"),
    ("c.json", '\ufeff{"feilds": []}', "1:2"),
    ("c.json", '{"fields": [{"name": "a"},\n {"name": "b", "type": "integr"}]}', "2:16"),
    ("c.json", '{"fields": [{"name": "a"}, {"name": "b",\n "constraints": {"minLength": "1"}}]}', "2:18"),
    ("c.json", '{"fields": [{"name": "a"}],\n "primaryKey": ["b"]}', "2:2"),
    ("c.json", '{"fields": [{"name": "a"}],\n "excel": {"headerRow": "x"}}', "2:12"),
    ("c.yaml", YAML, "4:29"),
    ("c.yml", "fields:\n- name: a\n- name: b\n  typ: integer\n", "4:3"),
    ("c.yaml", "fields:\n- 5\n", "2:3"),
    ("c.yaml", "a: &a {name: x, kind: 1}\nfields: [*a]\n", "1:1"),
    ("c.json", '{"fields": [{"name": "a",\n"name": "b"}]}', "2:1"),
    ("c.yaml", "fields:\n- name: a\n  type: string\n  type: integer\n", "4:3"),
    ("c.json", '{"fields": [\n{"name": ]}', "2:10"),
]


@pytest.mark.parametrize(("name", "content", "position"), PLACED)
def test_place_has_line_and_column(tmp_path: Path, name: str, content: str, position: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ContractError) as caught:
        load_contract(tmp_path / name)
    assert caught.value.place is not None
    assert re.search(rf"{re.escape(name)}:{position}\b", caught.value.place), caught.value.place


def test_toml_is_placed_by_its_field(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[[fields]]\nname = "a"\ntpye = "x"\n')
    with pytest.raises(ContractError, match="'tpye'") as caught:
        load_contract(tmp_path / "c.toml")
    assert caught.value.place == f"{tmp_path / 'c.toml'}, field 'a'"


def test_repeated_key_is_refused_and_merged_one_is_not(tmp_path: Path) -> None:
    """The last of two would hold, and the first one without a word not."""
    path = tmp_path / "c.yaml"
    path.write_text("x-base: &b {type: integer, title: B}\nfields:\n- {<<: *b, name: n, title: N}\n")
    assert load_contract(path).fields[0].title == "N"
    path.write_text("x-base: &b {type: integer}\nfields:\n- {name: n, name: m}\n")
    with pytest.raises(ContractError, match="'name' occurs twice"):
        load_contract(path)
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"fields": [{"name": "n"}]}).replace("}]", ', "title": "a", "title": "b"}]'))
    with pytest.raises(ContractError, match="'title' occurs twice"):
        load_contract(path)


def test_aliases_of_aliases_are_looked_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    (tmp_path / "c.yaml").write_text("\n".join([*lines, "fields: *a39"]))
    with pytest.raises(ContractError, match="unknown key 'a0'"):
        load_contract(tmp_path / "c.yaml")
