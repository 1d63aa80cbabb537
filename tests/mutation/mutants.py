"""Changes a module in one place at a time, in its Python and in the SQL of its texts: mutants that tests should notice.

Ready-made tools (mutmut, cosmic-ray) leave texts alone or replace them whole, and what this program promises is held by
conditions in SQL, of which each must be taken away by itself.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMPARE = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Is: "is not",
    ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
#: Larger numbers are sizes and times, of which one more is not wrong.
_MOST_EXACT = 64
_ARITHMETIC = {ast.Add: "-", ast.Sub: "+", ast.Mult: "//", ast.FloorDiv: "*", ast.BitOr: "&", ast.BitAnd: "|"}
_IS_SQL = re.compile(r"\b(select|insert into|update|delete from|drop|lock|where|and|from|on conflict)\b", re.IGNORECASE)
_ENDS = r"(?:and|or|order|group|returning|limit|for|on|do|then|else|end|select|set|where)\b"
#: A condition that follows `and`/`or`: texts, parentheses up to two deep, and all else up to what ends it.
_CONDITION = rf"(?:'[^'\n]*'|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)|(?!\b{_ENDS})[^\"'()\n])+"
_SQL_EDITS = (
    (rf"\band (?={_CONDITION})", "or "),
    (r"\bor ", "and "),
    (rf"\b(?:and|or) {_CONDITION}", " "),
    (r"<>", "="),
    (r"(?<![<>:!=])=(?![=>])", "<>"),
    (r" (?:<|>)=? ", " = "),
    (r"\bis not null\b", "is null"),
    (r"\bis null\b", "is not null"),
    (r"\bnot (?=exists|\()", ""),
    (r"\bdistinct ", ""),
    (r"\bfor (?:update|share|no key update|key share)\b", ""),
    (r"\border by [\w., ]+", ""),
    (r" desc\b", ""),
    (r"\bmin\(", "max("),
    (r"\bmax\(", "min("),
    (r"\bcascade\b", ""),
    (r"\bdo nothing\b", "do update set id = excluded.id"),
)


@dataclass(frozen=True)
class Mutant:
    """One change of a module.

    Attributes:
        start, end: the characters of the source that are replaced.
        text: what stands there instead.
        line: 1-based, of the change.
        kind: what was done, in a word or two.
    """

    start: int
    end: int
    text: str
    line: int
    kind: str

    def apply(self, source: str) -> str:
        """The module with this change."""
        return source[: self.start] + self.text + source[self.end :]

    def show(self, source: str) -> str:
        """The change for people."""
        old = " ".join(source[self.start : self.end].split())
        return f"{self.line}: {self.kind}: {old[:90]!r} -> {self.text[:90]!r}"


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module that still compile, in the order of the source."""
    place = _Places(source)
    tree = ast.parse(source)
    skipped = _not_run(tree, place)
    found = [*_python_mutants(tree, place), *_sql_mutants(source, place)]
    kept = {m for m in found if not any(start <= m.start < end for start, end in skipped) and _compiles(m, source)}
    return sorted(kept, key=lambda m: (m.start, m.end, m.text))


class _Places:
    """Offsets of a source's characters; `ast` counts columns in bytes."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._lines = source.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def at(self, line: int, column: int) -> int:
        """Offset of a character."""
        return self._starts[line - 1] + column

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Offsets of a node's first character and of the one after its last."""
        return self._of_byte(node.lineno, node.col_offset), self._of_byte(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def _of_byte(self, line: int, column: int) -> int:
        return self.at(line, len(self._lines[line - 1].encode()[:column].decode()))

    def text(self, node: ast.AST) -> str:
        """The source of a node."""
        start, end = self.span(node)
        return self.source[start:end]


def _not_run(tree: ast.Module, place: _Places) -> list[tuple[int, int]]:
    """What no test can notice: docstrings, annotations, and imports for types."""
    spans = []
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or (isinstance(node, ast.If) and "TYPE_CHECKING" in place.text(node.test)):
            spans.append(place.span(node))
        elif isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            spans.append(place.span(node.annotation))
        elif isinstance(node, ast.FunctionDef) and node.returns is not None:
            spans.append(place.span(node.returns))
        elif isinstance(node, ast.keyword) and node.arg == "strict":
            # It says what is true anyway.
            spans.append(place.span(node))
        elif isinstance(node, ast.Raise):
            # The words of an error are no promise; that it is raised is changed by the statement before this one.
            start, end = place.span(node)
            spans.append((start + len("raise"), end))
    return spans


def _python_mutants(tree: ast.Module, place: _Places) -> Iterator[Mutant]:
    for node in ast.walk(tree):
        yield from _of_expression(node, place)
        match node:
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) if not _has_own_mutant(test):
                yield _replace(place, test, f"not ({place.text(test)})", "condition negated")
            case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Delete() | ast.Continue() | ast.Break():
                yield _replace(place, node, "pass", "statement removed")
            case ast.Return(value=value) if value is not None and place.text(value) not in {"None", "False"}:
                yield _replace(place, node, "return None", "result removed")


def _of_expression(node: ast.AST, place: _Places) -> Iterator[Mutant]:
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            yield _between(place, left, right, _COMPARE[type(op)], "comparison")
        case ast.BoolOp(op=op, values=[first, second, *_]):
            yield _between(place, first, second, "or" if isinstance(op, ast.And) else "and", "boolean operator")
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            yield _between(place, left, right, _ARITHMETIC[type(op)], "arithmetic")
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield _replace(place, node, place.text(operand), "not removed")
        case ast.Constant(value=bool() as value):
            yield _replace(place, node, str(not value), "boolean")
        case ast.Constant(value=int() as value) if abs(value) <= _MOST_EXACT:
            yield _replace(place, node, str(value + 1), "number")


def _has_own_mutant(test: ast.expr) -> bool:
    """Whether another mutant has the same effect as this condition negated."""
    return isinstance(test, ast.UnaryOp) or (isinstance(test, ast.Compare) and len(test.ops) == 1)


def _replace(place: _Places, node: ast.AST, text: str, kind: str) -> Mutant:
    start, end = place.span(node)
    return Mutant(start, end, text, node.lineno, kind)  # type: ignore[attr-defined]


def _between(place: _Places, left: ast.expr, right: ast.expr, operator: str, kind: str) -> Mutant:
    """The operator between two operands, with the parentheses that stand there kept."""
    start, end = place.span(left)[1], place.span(right)[0]
    between = place.source[start:end]
    opening = between[len(between.rstrip("( \n")) :].strip()
    closing = between[: len(between) - len(between.lstrip(") \n"))].strip()
    return Mutant(start, end, f"{closing} {operator} {opening}", left.end_lineno or left.lineno, kind)


def _sql_mutants(source: str, place: _Places) -> Iterator[Mutant]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.STRING or not _IS_SQL.search(token.string):
            continue
        offset = place.at(*token.start)
        for pattern, text in _SQL_EDITS:
            for found in re.finditer(pattern, token.string, re.IGNORECASE):
                start = offset + found.start()
                line = token.start[0] + token.string[: found.start()].count("\n")
                yield Mutant(start, offset + found.end(), text, line, "SQL")


def _compiles(mutant: Mutant, source: str) -> bool:
    try:
        compile(mutant.apply(source), "mutant", "exec")
    except SyntaxError:
        return False
    return mutant.apply(source) != source
