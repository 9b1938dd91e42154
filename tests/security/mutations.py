"""Finds the checks of a source file, and switches them off one at a time.

A check is whatever ends in a `raise` or in the answer that refuses: each term of its condition is
one, and so is each bound that a field is read with and each call that is made only to raise. What
has another form is named by hand.
"""

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
_CHECKING = re.compile(r"_?(check|verify|admit|refuse|demand|_place|exactly)")
_REFUSAL = re.compile(r"(_BAD|_NOT|NO)_[A-Z]+$|(problem|refusal|too_many_\w+|sign_in_page)\(")
"""What is returned instead of raised."""
_BOUNDS = frozenset({"least", "most", "limit"})
_PREDICATE = re.compile(r"_?is_")
Edit = Callable[[ast.AST], None]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One check that is off."""

    file: str
    """Below the project."""
    line: int
    place: str
    """The function, and what was done in it."""
    code: ast.Module

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.place}"


def mutants_of(file: str, by_hand: Sequence[tuple[str, str]] = ()) -> list[Mutant]:
    """Every mutant of a file, in the order of its lines."""
    source = (PROJECT / file).read_text("utf-8")
    found = [_mutated(file, source, at, edit, place) for at, place, edit in _edits(source)]
    for old, new in by_hand:
        if source.count(old) != 1:
            raise LookupError(f"{file} holds {source.count(old)} times: {old}")
        line = source[: source.index(old)].count("\n") + 1
        place = f"{' '.join(old.split())} -> {' '.join(new.split())}"
        found.append(Mutant(file, line, place, ast.parse(source.replace(old, new))))
    return sorted(found, key=lambda mutant: mutant.line)


def _mutated(file: str, source: str, at: int, edit: Edit, place: str) -> Mutant:
    tree = ast.parse(source)
    node = list(ast.walk(tree))[at]
    line: int = getattr(node.pattern if isinstance(node, ast.match_case) else node, "lineno", 0)
    edit(node)
    return Mutant(file, line, place, ast.fix_missing_locations(tree))


def _edits(source: str) -> Iterator[tuple[int, str, Edit]]:
    """Which node of the walk, in words, and what is done to it."""
    tree = ast.parse(source)
    functions = {
        inner: function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(function)
    }
    handled = {
        inner
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler)
        for inner in handler.body
    }
    for at, node in enumerate(ast.walk(tree)):
        name = functions.get(node, "")
        for what, edit in _of_node(node, name, is_handled=node in handled):
            yield at, f"{name}: {what}", edit


def _of_node(node: ast.AST, name: str, *, is_handled: bool) -> Iterator[tuple[str, Edit]]:
    if isinstance(node, ast.If) and _refuses(node.body[-1]):
        yield from _of_condition(node.test, "test", holds=False)
    elif isinstance(node, ast.match_case) and _refuses(node.body[-1]):
        yield f"case {ast.unparse(node.pattern)} -> never", _never
    elif isinstance(node, ast.Raise) and is_handled and node.exc is not None:
        yield f"{ast.unparse(node)} -> raise", _let_escape
    elif isinstance(node, ast.Expr) and _is_check(node.value):
        yield f"{ast.unparse(node)} -> nothing", _drop
    elif isinstance(node, ast.Call):
        for keyword in node.keywords:
            if keyword.arg in _BOUNDS:
                what = f"{ast.unparse(node)} without {keyword.arg}"
                yield what, _without_keyword(keyword.arg)
    elif (value := _predicate_of(node, name)) is not None:
        yield from _of_predicate(value)


def _predicate_of(node: ast.AST, name: str) -> ast.expr | None:
    """What a function or a variable named `is_…` is."""
    if isinstance(node, ast.Return) and _PREDICATE.match(name):
        return node.value
    if isinstance(node, ast.Assign) and _PREDICATE.match(ast.unparse(node.targets[0])):
        return node.value
    return None


def _refuses(statement: ast.stmt) -> bool:
    """Who wants to stop refuses nothing."""
    if isinstance(statement, ast.Return) and statement.value is not None:
        return _REFUSAL.match(ast.unparse(statement.value)) is not None
    if not isinstance(statement, ast.Raise) or statement.exc is None:
        return False
    return ast.unparse(statement.exc) != "Stopped"


def _is_check(value: ast.expr) -> bool:
    if not isinstance(value, ast.Call):
        return False
    called = value.func.attr if isinstance(value.func, ast.Attribute) else ast.unparse(value.func)
    return bool(_CHECKING.match(called))


def _let_escape(node: ast.AST) -> None:
    assert isinstance(node, ast.Raise)
    node.exc = node.cause = None


def _never(node: ast.AST) -> None:
    assert isinstance(node, ast.match_case)
    node.guard = ast.Constant(False)


def _drop(node: ast.AST) -> None:
    assert isinstance(node, ast.Expr)
    node.value = _instead(node.value, None)


def _without_keyword(name: str) -> Edit:
    def edit(node: ast.AST) -> None:
        assert isinstance(node, ast.Call)
        node.keywords = [each for each in node.keywords if each.arg != name]

    return edit


def _of_predicate(value: ast.expr) -> Iterator[tuple[str, Edit]]:
    """Of `a or b` each term is a check by itself, and of `a and b`."""
    if isinstance(value, ast.BoolOp):
        yield from _of_condition(value, "value", holds=isinstance(value.op, ast.And))


def _of_condition(test: ast.expr, field: str, *, holds: bool) -> Iterator[tuple[str, Edit]]:
    """Each term of a condition made to say that all is well; `holds`: what says so."""
    for path, term, well in _terms(test, (), holds):
        yield f"{ast.unparse(term)} -> {well}", _put(field, path, _instead(term, well))
    for path, left, right in _pairs(test, ()):
        yield f"{ast.unparse(left)} is not compared", _put_pair(field, path, left, right)


Step = tuple[str, int | None]
Steps = tuple[Step, ...]


def _terms(test: ast.expr, path: Steps, holds: bool) -> Iterator[tuple[Steps, ast.expr, bool]]:
    """The terms whose own truth decides, with what each must be so that nothing is refused."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or) is not holds:
        for number, value in enumerate(test.values):
            yield from _terms(value, (*path, ("values", number)), holds)
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from _terms(test.operand, (*path, ("operand", None)), not holds)
    elif isinstance(test, ast.Compare) and len(test.ops) > 1 and holds:
        for number in range(len(test.ops)):
            yield (*path, ("ops", number)), _half(test, number), True
    else:
        yield path, test, holds


def _half(test: ast.Compare, number: int) -> ast.Compare:
    operands = [test.left, *test.comparators]
    return ast.Compare(operands[number], [test.ops[number]], [operands[number + 1]])


def _pairs(test: ast.expr, path: Steps) -> Iterator[tuple[Steps, ast.expr, ast.expr]]:
    """`(a, b) != (c, d)` is a check of each pair."""
    if isinstance(test, ast.Compare) and isinstance(test.left, ast.Tuple):
        right = test.comparators[0]
        if isinstance(right, ast.Tuple):
            for number in range(len(right.elts)):
                yield (*path, ("pair", number)), test.left.elts[number], right.elts[number]


def _instead(term: ast.expr, value: bool | None) -> ast.expr:
    """The value, whatever the term is: its names stay, so that closures hold what they held."""
    op = ast.Or() if value else ast.And()
    return ast.BoolOp(op, [ast.Constant(value), term])


def _put(field: str, path: Steps, value: ast.expr) -> Edit:
    def edit(node: ast.AST) -> None:
        holder: ast.AST = node
        last: Step = (field, None)
        for step in path:
            if step[0] == "ops":
                break
            holder, last = _at(holder, last), step
        if path and path[-1][0] == "ops":
            _without_half(_at(holder, last), path[-1][1])
        else:
            _set(holder, last, value)

    return edit


def _put_pair(field: str, path: Steps, left: ast.expr, right: ast.expr) -> Edit:
    del left, right

    def edit(node: ast.AST) -> None:
        compared = getattr(node, field)
        for step in path[:-1]:
            compared = _at(compared, step)
        number = path[-1][1]
        assert number is not None
        compared.left.elts.pop(number)
        compared.comparators[0].elts.pop(number)

    return edit


def _at(holder: ast.AST, step: Step) -> ast.AST:
    found = getattr(holder, step[0])
    inner: ast.AST = found if step[1] is None else found[step[1]]
    return inner


def _set(holder: ast.AST, step: Step, value: ast.expr) -> None:
    if step[1] is None:
        setattr(holder, step[0], value)
    else:
        getattr(holder, step[0])[step[1]] = value


def _without_half(test: ast.AST, number: int | None) -> None:
    """`a < b < c` without one of its comparisons."""
    assert isinstance(test, ast.Compare)
    assert number is not None
    if number == 0:
        test.left = test.comparators[0]
    if 0 < number < len(test.ops) - 1:
        raise NotImplementedError("comparisons of more than three")
    del test.ops[number]
    del test.comparators[0 if number == 0 else number]
