"""The mutants of a module: one change each, in Python and in SQL, and none that no test could notice."""

from __future__ import annotations

from mutation.mutants import mutants

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
