"""The mutants of a module: one change each, in Python and in SQL, and none that no test could notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mutation.forked import Forked, function_at
from mutation.mutants import mutants
from mutation.run import ROOT, TESTS

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = '''"""and is not SQL here."""

def find(session, names: int = 5):
    """Return where a < b."""
    if not names:
        raise ValueError("no names and no 1")
    session.lock()
    rows = session.query("select distinct x from t where a = 1 and (b = 'x' or c) and d is null order by x")
    return [r for r in rows if r[0] == names and r[1:]]
'''


def _shown() -> list[str]:
    return [mutant.show(SOURCE) for mutant in mutants(SOURCE)]


def test_each_is_the_module_with_one_change() -> None:
    for mutant in mutants(SOURCE):
        changed = mutant.apply(SOURCE)
        compile(changed, "mutant", "exec")
        assert changed != SOURCE
        assert changed[: mutant.start] == SOURCE[: mutant.start]
        assert changed.endswith(SOURCE[mutant.end :])
        assert SOURCE[: mutant.start].count("\n") <= mutant.line


def test_python_and_sql_are_changed() -> None:
    shown = _shown()
    for change in (
        "5: not removed: 'not names' -> 'names'",
        """6: statement removed: 'raise ValueError("no names and no 1")' -> 'pass'""",
        "7: statement removed: 'session.lock()' -> 'pass'",
        "8: SQL: 'distinct' -> ''",
        """8: SQL: "and (b = 'x' or c)" -> ' '""",
        "8: SQL: 'or' -> 'and '",
        "8: SQL: 'is null' -> 'is not null'",
        "8: SQL: 'order by x' -> ''",
        "9: comparison: '==' -> ' != '",
        "9: boolean operator: 'and' -> ' or '",
    ):
        assert change in shown, (change, shown)


def test_words_for_people_and_types_are_left_alone() -> None:
    lines = {int(line.partition(":")[0]) for line in _shown()}
    assert not lines & {1, 4}
    assert not [line for line in _shown() if line.startswith("6: number")]


def test_the_innermost_function_of_a_line_is_found() -> None:
    source = "x = 1\n\n\n@decorator\ndef outer():\n    def inner():\n        return 1\n    return inner\n"
    assert [function_at(source, line) for line in range(1, 9)] == [0, 0, 0, 0, 4, 6, 6, 4]


def test_a_fork_notices_what_a_test_does_not_expect(tmp_path: Path) -> None:
    (tmp_path / "tried.py").write_text(source := "def twice(x):\n    return 2 * x\n")
    test = "import tried\ndef test_twice(): assert tried.twice(2) == 4\ndef test_nothing(): pass\n"
    (tmp_path / "test_tried.py").write_text(test)
    with Forked(tmp_path, "tried.py", ["test_tried.py"]) as forked:
        assert forked.begin()
        assert forked.tests[1] == ["test_tried.py::test_twice"]
        assert not forked.notices(source, 2)
        (tmp_path / "tried.py").write_text("def twice(x):\n    return 2 + x + 1\n")
        assert forked.notices(source, 2)


def test_modules_and_their_tests_are_there() -> None:
    named = {*TESTS, *(each for arguments in TESTS.values() for each in arguments if each.startswith("tests/"))}
    assert [each for each in sorted(named) if not (ROOT / each).exists()] == []
