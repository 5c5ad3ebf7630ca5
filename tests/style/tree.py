"""Renders the list of modules in docs/architecture.md from the modules' own first sentences.

``python -m tests.style.tree`` rewrites the page.
"""

from __future__ import annotations

from tests.style.sources import PACKAGE, ROOT, Module, modules

PAGE = ROOT / "docs/architecture.md"
BEGIN = "<!-- modules: written by `python -m tests.style.tree` -->\n"
END = "<!-- end of modules -->\n"


def sentence(module: Module) -> str:
    """The first paragraph of the docstring on one line."""
    return " ".join(module.docstring.partition("\n\n")[0].split())


def render() -> str:
    """All modules (package files are empty), folder by folder, one line each."""
    lines: list[str] = []
    folder = None
    for module in sorted(modules(), key=lambda m: (m.path.parent.parts, m.path.name)):
        if module.is_package:
            continue
        if module.path.parent != folder:
            folder = module.path.parent
            lines += ["", f"**`{folder.relative_to(PACKAGE.parent)}/`**", ""]
        lines.append(f"- `{module.path.name}` {sentence(module)}".rstrip())
    return "\n".join(lines) + "\n\n"


def with_tree(page: str) -> str:
    """The page with its list of modules made anew."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has lost its marks {BEGIN.strip()} and {END.strip()}")
    return before + BEGIN + render() + END + after


if __name__ == "__main__":
    PAGE.write_text(with_tree(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
