"""The root side's own form of a frozen dataclass is as strict as one."""

from __future__ import annotations

import copy
import pickle
from dataclasses import asdict, make_dataclass
from typing import Any

import pytest

from banger.privileged.frozen import Frozen


class Pair(Frozen):
    name: str
    numbers: tuple[int, ...] = (1,)


class Same(Frozen):
    name: str
    numbers: tuple[int, ...] = (1,)


class Longer(Pair):
    last: bool = False


class Nothing(Frozen):
    pass


PLAIN = make_dataclass("Pair", [("name", str), ("numbers", Any, (1,))], frozen=True)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (("a",), {}),
        (("a", (2,)), {}),
        ((), {"numbers": (), "name": "a"}),
        (("a",), {"numbers": ()}),
    ],
)
def test_it_is_made_and_shown_as_a_dataclass_is(
    values: tuple[Any, ...], named: dict[str, Any]
) -> None:
    made, plain = Pair(*values, **named), PLAIN(*values, **named)
    assert repr(made) == repr(plain)
    assert list(made.as_dict().items()) == list(asdict(plain).items())
    assert hash(made) == hash(plain)
    assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((), {}),
        ((), {"numbers": ()}),
        (("a", (), 3), {}),
        (("a",), {"name": "a"}),
        (("a",), {"other": 1}),
        (("a",), {"_fields": {}}),
    ],
)
def test_it_is_refused_as_a_dataclass_is(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    for kind in (Pair, PLAIN):
        with pytest.raises(TypeError):
            kind(*values, **named)
    with pytest.raises(TypeError):
        Nothing(*values, **named, more=1)


def test_it_does_not_change() -> None:
    made = Pair("a")
    for name in ("name", "numbers", "other"):
        with pytest.raises(AttributeError):
            setattr(made, name, "b")
        with pytest.raises(AttributeError):
            delattr(made, name)
    assert made.replaced(name="b") == Pair("b")
    assert made == Pair("a")
    with pytest.raises(TypeError):
        made.replaced(other=1)


def test_classes_are_told_apart() -> None:
    assert Pair("a") != Same("a")
    assert Pair("a") != Pair("b")
    assert Longer("a", (2,), last=True).as_dict() == {"name": "a", "numbers": (2,), "last": True}
    assert Pair.fields() == {"name": "str", "numbers": "tuple[int, ...]"}
    assert Nothing() == Nothing()
    assert Nothing.fields() == {}
