"""Finds the one object that a user means: exact name, id, or unique id prefix."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeVar

from banger.errors import InvalidInput, NotFound
from banger.naming import is_id_prefix


class Named(Protocol):
    """What VMs and images have in common."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...


_T = TypeVar("_T", bound=Named)


def find(
    kind: str,
    reference: str,
    *,
    by_name: Callable[[str], _T | None],
    by_id_prefix: Callable[[str], Sequence[_T]],
    names: Callable[[], Collection[str]],
) -> _T:
    """The object that ``reference`` means.

    Raises ``NotFound`` with the nearest name, ``InvalidInput`` when a prefix is ambiguous.
    """
    named = by_name(reference)
    if named is not None:
        return named
    if is_id_prefix(reference):
        matches = by_id_prefix(reference)
        if len(matches) == 1:
            return matches[0]
        if matches:
            listed = ", ".join(f"{match.id} ({match.name})" for match in matches[:5])
            raise InvalidInput(
                f"the id prefix {reference} is not unique",
                cause=f"it fits {listed}",
                resolution="give more digits, or the name",
            )
    command = "banger image list" if kind == "image" else "banger ls"
    near = difflib.get_close_matches(reference, names(), n=1, cutoff=0.6)
    raise NotFound(
        f"no {kind} named {reference!r:.80}",
        cause=f"did you mean {near[0]}?" if near else f"no {kind} has this name or id",
        resolution=command,
    )
