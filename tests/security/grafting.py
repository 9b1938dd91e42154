"""Puts a mutant's code into the modules that are loaded: whoever imported a function has it, too.

That spares each mutant the import of the whole source and of its tests. What a mutant changes is
the code of some functions, or a constant of the module.
"""

import ast
import gc
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from types import CodeType, FunctionType, ModuleType

from tests.security.mutations import PROJECT, Mutant


@dataclass(frozen=True, slots=True)
class Place:
    """A function of a file."""

    file: str
    line: int
    name: str


class Grafts:
    """The functions of some files, as they are loaded."""

    def __init__(self, files: Iterable[str]) -> None:
        self._modules = {file: _loaded(file) for file in files}
        names = {str(PROJECT / file): file for file in self._modules}
        self._functions: dict[Place, list[FunctionType]] = {}
        gc.unfreeze()  # what is frozen is not among the objects that are told
        for found in gc.get_objects():
            if isinstance(found, FunctionType) and (file := names.get(found.__code__.co_filename)):
                place = Place(file, found.__code__.co_firstlineno, found.__code__.co_qualname)
                self._functions.setdefault(place, []).append(found)
        gc.freeze()  # children share what nobody looks through

    def places(self) -> dict[int, Place]:
        """Where each code is, by its identity: as long as nothing is grafted."""
        return {
            id(function.__code__): place
            for place, functions in self._functions.items()
            for function in functions
        }

    def put(self, mutant: Mutant) -> None:
        """From now on, in this process, the mutant is what runs."""
        changed = changed_by(mutant)
        for place, code in changed.items():
            for function in self._functions.get(place, ()):
                function.__code__ = code
        if not changed:
            _assign(mutant, self._modules[mutant.file])
        elif changed.keys().isdisjoint(self._functions):
            raise LookupError(f"{mutant} changes nothing that is loaded")


def changed_by(mutant: Mutant) -> dict[Place, CodeType]:
    """The functions that the mutant changes; none where it is a constant.

    Also those within another, for it may have made them already, as a decorator does.
    """
    source = (PROJECT / mutant.file).read_text("utf-8")
    before, after = _compiled(source, mutant.file), _compiled(mutant.code, mutant.file)
    return dict(_changes(before, after, mutant.file))


def _changes(before: CodeType, after: CodeType, file: str) -> Iterator[tuple[Place, CodeType]]:
    known = dict(_within(before, file))
    for place, code in _within(after, file):
        if known.get(place) == code:
            continue
        if code.co_flags & inspect.CO_OPTIMIZED:  # else it is the body of a class
            yield place, code
        if place in known:
            yield from _changes(known[place], code, file)


def _within(code: CodeType, file: str) -> Iterator[tuple[Place, CodeType]]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield Place(file, inner.co_firstlineno, inner.co_qualname), inner


def _loaded(file: str) -> ModuleType:
    return import_module(file.removesuffix(".py").replace("/", "."))


def _compiled(source: str | ast.Module, file: str) -> CodeType:
    return compile(source, str(PROJECT / file), "exec", dont_inherit=True)


def _assign(mutant: Mutant, module: ModuleType) -> None:
    before = ast.parse((PROJECT / mutant.file).read_text("utf-8")).body
    pairs = zip(before, mutant.code.body, strict=True)
    changed = [new for old, new in pairs if ast.dump(old) != ast.dump(new)]
    if not changed or not all(isinstance(each, ast.Assign) for each in changed):
        raise LookupError(f"{mutant} changes neither a function nor a constant")
    exec(_compiled(ast.Module(changed, []), mutant.file), vars(module))  # noqa: S102 our own code
