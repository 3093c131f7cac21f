"""Methods and recipes are found by their files: no registry, no list to edit, and nothing imported to list them."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path

from dimscope.core.errors import UnknownName
from dimscope.core.method import Method
from dimscope.core.recipe import Recipe

_PACKAGE = Path(__file__).parent


def methods() -> dict[str, str]:
    """Give every method's name with the first sentence of its docstring.

    >>> "measure/outlier_dimensions" in methods()
    True
    """
    return _files("methods/*/*.py", lambda path: f"{path.parent.name}/{path.stem}")


def recipes() -> dict[str, str]:
    """Give every recipe's name with the first sentence of its docstring."""
    return _files("recipes/*.py", lambda path: path.stem)


def find_method(name: str) -> type[Method]:
    """Give the method of that name.

    Raises:
        UnknownName: there is none.
    """
    if name not in methods():
        raise UnknownName("method", name, methods())
    return _class_in(f"dimscope.methods.{name.replace('/', '.')}", Method)


def find_recipe(name: str) -> type[Recipe]:
    """Give the recipe of that name.

    Raises:
        UnknownName: there is none.
    """
    if name not in recipes():
        raise UnknownName("recipe", name, recipes())
    return _class_in(f"dimscope.recipes.{name}", Recipe)


def _files(pattern: str, name: Callable[[Path], str]) -> dict[str, str]:
    paths = sorted(path for path in _PACKAGE.glob(pattern) if path.stem != "__init__")
    return {name(path): _first_line(path) for path in paths}


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def _class_in(module_name: str, kind: type) -> type:
    """The one class of that kind that the module defines itself."""
    module = importlib.import_module(module_name)
    own = [
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, kind) and each.__module__ == module_name
    ]
    if len(own) != 1:
        raise TypeError(f"{module_name} must define exactly one {kind.__name__}, found {len(own)}")
    return own[0]
