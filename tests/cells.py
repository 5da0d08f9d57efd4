"""Tests of what a chapter writes out: its cells' definitions, whole and broken on purpose."""

import ast
from collections.abc import Callable

import frame
import pytest


class Chapter:
    """What the cells define, as attributes; in one of them a piece may be replaced by another.

    sources  by cell id, what it defines
    names    what the cells use and do not define
    """

    def __init__(
        self, sources: dict[str, str], names: dict, cell: str = "", old: str = "", new: str = ""
    ):
        self.__dict__ = dict(names)
        for name, source in sources.items():
            if name == cell:
                if old not in source:
                    raise ValueError(f"{old} is not in {name}: {source}")
                source = source.replace(old, new)
            exec(source, self.__dict__)


class Checks:
    """Checks of one chapter, each with changes that it must notice.

    number    of the chapter
    defining  ids of the cells that are run, separated by spaces: of each only the functions and
              classes, and what is assigned to names in capitals or in `assigned`
    names     what the cells use and do not define
    """

    def __init__(self, number: int, defining: str, assigned: str = "", **names):
        (file,) = (file for file in frame.chapters() if file.name.startswith(f"{number:02}_"))
        self.cells = {cell.id: cell for cell in frame.read(file).cells}
        self.sources = {
            name: definitions(self.cells[name].source, assigned.split())
            for name in defining.split()
        }
        self.names, self.checks = names, {}

    def chapter(self, *change: str) -> Chapter:
        """The chapter, or one with a change: a cell, a piece of it, another in its place."""
        return Chapter(self.sources, self.names, *change)

    def notices(self, *changes: tuple[str, str, str]) -> Callable:
        """Register a function of a chapter as a check that must fail after each of the changes."""

        def register(check):
            self.checks[check] = changes
            return check

        return register

    def tests(self) -> tuple[Callable, Callable]:
        """Tests for pytest: that each check passes, and that it fails after each change."""
        broken = [(check, *change) for check, changes in self.checks.items() for change in changes]

        def name(value):
            return getattr(value, "__name__", "")

        @pytest.mark.parametrize("check", self.checks, ids=name)
        def test_chapter(check):
            check(self.chapter())

        @pytest.mark.parametrize("check, cell, old, new", broken, ids=name)
        def test_what_is_broken_is_noticed(check, cell, old, new):
            chapter = self.chapter(cell, old, new)
            with pytest.raises(AssertionError):
                check(chapter)

        return test_chapter, test_what_is_broken_is_noticed


def definitions(source: str, assigned: list[str]) -> str:
    """Of a cell's source, the functions, the classes, and assignments to certain names."""
    kept = []
    for node in ast.parse(source).body:
        names = [getattr(target, "id", "") for target in getattr(node, "targets", [])]
        wanted = names and all(name.isupper() or name in assigned for name in names)
        if wanted or isinstance(node, ast.FunctionDef | ast.ClassDef):
            kept.append(ast.unparse(node))
    return "\n\n".join(kept)
