"""Small mistakes, made by rule: every answer that differs from another one in one place.

The operators are the usual ones of mutation testing (DeMillo, Lipton and Sayward, "Hints on Test Data
Selection", 1978): a comparison, an operator, a number or a condition is another one, an argument or a
statement is missing, two names are mixed up.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPPOSITES = {ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt}
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
}  # fmt: skip


def mutations(source: str) -> Iterator[tuple[str, str]]:
    """(what was changed, the changed source), for each place and way; sources are as `ast.unparse`
    writes them, and no two are the same."""
    tree = ast.parse(source)
    seen = {ast.unparse(tree)}
    for number, node in enumerate(ast.walk(tree)):
        for way in range(len(_changes(node))):
            mutant = copy.deepcopy(tree)
            place = list(ast.walk(mutant))[number]
            _changes(place)[way](place)
            ast.fix_missing_locations(mutant)
            changed = ast.unparse(mutant)
            if changed not in seen:
                seen.add(changed)
                yield difference(ast.unparse(tree), changed), changed


def difference(before: str, after: str) -> str:
    """The lines that are not in both, as "old -> new"."""
    old, new = before.splitlines(), after.splitlines()
    while old and new and old[0] == new[0]:
        old, new = old[1:], new[1:]
    while old and new and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    return " -> ".join("; ".join(map(str.strip, lines)) or "nothing" for lines in (old, new))


def _changes(node: ast.AST) -> list:
    """What can be made wrong about this node; each is a function that does it."""
    changes = []
    if isinstance(node, ast.Compare):
        for table in (COMPARISONS, OPPOSITES):
            if type(node.ops[0]) in table:
                changes.append(lambda n, table=table: _set(n.ops, 0, table[type(n.ops[0])]()))
    if isinstance(node, ast.BoolOp):
        changes.append(
            lambda n: setattr(n, "op", ast.And() if isinstance(n.op, ast.Or) else ast.Or())
        )
        for number in range(len(node.values)):
            changes.append(lambda n, number=number: _only(n.values, number))
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in OPERATORS:
        changes.append(lambda n: setattr(n, "op", OPERATORS[type(n.op)]()))
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            changes.append(lambda n: setattr(n, "value", not n.value))
        elif isinstance(node.value, (int, float)):
            for more in (1, -1):
                changes.append(lambda n, more=more: setattr(n, "value", n.value + more))
    if isinstance(node, (ast.While, ast.If, ast.IfExp)):
        changes.append(lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test)))
    if isinstance(node, ast.IfExp):
        changes += [lambda n: setattr(n, "test", ast.Constant(True)),
                    lambda n: setattr(n, "test", ast.Constant(False))]  # fmt: skip
    if isinstance(node, ast.Call):
        for number in range(len(node.keywords)):
            changes.append(lambda n, number=number: n.keywords.pop(number))
        if len(node.args) > 1:
            changes.append(lambda n: n.args.reverse())
            changes.append(lambda n: n.args.pop())
    if isinstance(node, ast.Return) and node.value is not None:
        changes.append(lambda n: setattr(n, "value", ast.Constant(None)))
    if isinstance(node, (ast.Tuple, ast.List)) and len(node.elts) > 1:
        if isinstance(node.ctx, ast.Load):
            changes.append(lambda n: n.elts.pop())
        changes.append(lambda n: n.elts.reverse())
        changes.append(lambda n: n.elts.append(n.elts.pop(0)))
    if isinstance(node, ast.Slice):
        changes += [lambda n: setattr(n, "lower", None), lambda n: setattr(n, "upper", None)]
    for field in ("body", "orelse"):
        statements = getattr(node, field, None)
        if isinstance(statements, list) and not isinstance(node, (ast.Module, ast.ClassDef)):
            for number, statement in enumerate(statements):
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    continue  # a docstring
                changes.append(
                    lambda n, f=field, number=number: _set(getattr(n, f), number, ast.Pass())
                )
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        for pair in MIXED_UP:
            if node.id in pair:
                changes.append(lambda n, p=pair: setattr(n, "id", p[1 - p.index(n.id)]))
    return changes


MIXED_UP = [
    ("terminated", "truncated"), ("won", "lost"), ("steps", "made"), ("total", "reward"),
    ("episodes", "steps"), ("means", "spreads"), ("p", "q"),
]  # fmt: skip


def _set(items: list, number: int, item) -> None:
    items[number] = item


def _only(items: list, number: int) -> None:
    items[:] = [items[number], items[number]]
