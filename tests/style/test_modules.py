"""Size, names and imports of the modules."""

from __future__ import annotations

import ast
import io
import statistics
import sys
import tokenize
from collections.abc import Callable, Iterator

from tests.style.sources import PACKAGE, ROOT, Module, committed_files, imports, modules

CEILING = 300
MEDIAN_CEILING = 160
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "core", "manager"}
#: Where programs may be started, and nowhere else.
LAUNCHERS = {"banger.host.command", "banger.host.spawn", "banger.privileged.programs"}
#: Programs of their own, which fork because only a child gets into some namespaces.
FORKING = {"banger.drivers.image.inside", "banger.drivers.image.guest_root"}
LAUNCHING = {
    "subprocess",
    "pty",
    "multiprocessing",
    "asyncio.subprocess",
    "asyncio.create_subprocess_exec",
    "asyncio.create_subprocess_shell",
}
LAUNCHING_CALLS = {
    "create_subprocess_exec",
    "create_subprocess_shell",
    "subprocess_exec",
    "subprocess_shell",
    "posix_spawn",
    "posix_spawnp",
    "forkpty",
    "popen",
}


def test_no_module_outgrows_one_concept() -> None:
    large = {m.name: m.lines for m in modules() if m.lines > CEILING}
    assert not large, "two concepts: split it by noun"


def test_median_size(record_property: Callable[[str, object], None]) -> None:
    sizes = [module.lines for module in modules() if module.text.strip()]
    median = statistics.median(sizes)
    largest = max(modules(), key=lambda module: module.lines)
    print(f"{len(sizes)} modules, median {median:.0f}, largest {largest.name} {largest.lines}")
    record_property("median_lines", median)
    assert median <= MEDIAN_CEILING


def test_no_file_has_a_name_that_says_nothing() -> None:
    named_so = [
        path.relative_to(ROOT)
        for path in committed_files()
        if FORBIDDEN_NAMES & {part.partition(".")[0] for part in path.relative_to(ROOT).parts}
    ]
    assert not named_so


def test_package_files_are_empty() -> None:
    packages = [module for module in modules() if module.is_package]
    full = [m.name for m in packages if m.path.parent != PACKAGE and m.text.strip()]
    assert not full
    top = next(module for module in packages if module.path.parent == PACKAGE)
    assert [type(node) for node in top.tree.body] == [ast.Assign]
    assert top.text.startswith("__version__ = ")


def test_annotations_are_never_evaluated() -> None:
    line = "from __future__ import annotations"
    assert not [m.name for m in modules() if not m.is_package and line not in m.text]


def test_types_do_not_point_upwards() -> None:
    assert not [m.name for m in modules() if "typing.TYPE_CHECKING" in imports(m)]


def test_the_root_side_imports_the_standard_library_alone() -> None:
    foreign = [
        f"{module.name} imports {name}"
        for module in modules()
        if module.name.startswith("banger.privileged")
        for name in imports(module)
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not f"{name}.".startswith("banger.privileged.")
    ]
    assert not foreign


def _launches(module: Module) -> Iterator[str]:
    yield from LAUNCHING & imports(module)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            on_os = isinstance(node.func.value, ast.Name) and node.func.value.id == "os"
            if name in LAUNCHING_CALLS or (on_os and name.startswith(("system", "fork", "spawn"))):
                yield name


def test_programs_are_started_in_three_places_only() -> None:
    launching = {m.name: found for m in modules() if (found := list(_launches(m)))}
    assert launching.keys() <= LAUNCHERS | FORKING, launching
    assert all(launching[name] == ["fork"] for name in launching.keys() & FORKING)


def _silenced_without_reason(module: Module) -> Iterator[str]:
    lines = module.text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type != tokenize.COMMENT:
            continue
        row, text = token.start[0], token.string
        if "noqa" in text or "type: ignore" in text:
            above = lines[row - 2].strip() if row > 1 else ""
            # The reason stands behind the code, or in a comment on the line just above.
            if not (" - " in text or text.count("#") > 1 or above.startswith("#")):
                yield f"{module.name}:{row} {text}"


def test_every_silenced_lint_says_why() -> None:
    assert not [found for module in modules() for found in _silenced_without_reason(module)]
