"""The path is the name everywhere: a method has its test and its page, a recipe too, and no page is left over."""

from pathlib import Path

import pytest

from dimscope.discovery import find_method, find_recipe, methods, recipes

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", methods())
def test_method_has_test_and_page(name):
    role, file = name.split("/")
    assert (ROOT / "tests" / "methods" / role / f"test_{file}.py").exists()
    assert (ROOT / "docs" / "methods" / role / f"{file}.md").exists()


@pytest.mark.parametrize("name", recipes())
def test_recipe_has_test_and_page(name):
    assert (ROOT / "tests" / "recipes" / f"test_{name}.py").exists()
    assert (ROOT / "docs" / "recipes" / f"{name}.md").exists()


def test_no_page_without_its_method():
    pages = {f"{path.parent.name}/{path.stem}" for path in (ROOT / "docs" / "methods").glob("*/*.md")}
    assert pages == set(methods())
    assert {path.stem for path in (ROOT / "docs" / "recipes").glob("*.md")} == set(recipes())


@pytest.mark.parametrize("name", methods())
def test_every_setting_is_described(name):
    fields = find_method(name).model_fields
    assert [field for field, about in fields.items() if not about.description] == []


@pytest.mark.parametrize("name", recipes())
def test_every_setting_of_a_recipe_is_described(name):
    assert [field for field, about in find_recipe(name).model_fields.items() if not about.description] == []


@pytest.mark.parametrize("name", methods())
def test_method_names_its_sources(name):
    assert find_method(name).sources
    assert find_method(name).name() == name
