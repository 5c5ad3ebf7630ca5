"""The architecture page tells the truth about the modules."""

from __future__ import annotations

from tests.style import tree
from tests.style.sources import modules


def test_the_page_lists_the_modules_as_they_are() -> None:
    page = tree.PAGE.read_text(encoding="utf-8")
    assert page == tree.with_tree(page), "run: python -m tests.style.tree"


def test_every_module_says_its_one_responsibility() -> None:
    wrong = {
        module.name: first
        for module in modules()
        if not module.is_package
        if not (first := tree.sentence(module)).endswith(".") or not 10 <= len(first) <= 200
    }
    assert not wrong, "the docstring's first paragraph is one sentence of 10 to 200 characters"
