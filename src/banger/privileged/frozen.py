"""Frozen values with named fields: what the root side needs of dataclasses, which cost it more.

It starts anew for each batch. To import ``dataclasses`` and let it write the methods of every
call took longer than most batches do.
"""

from __future__ import annotations

from collections.abc import Mapping

# Type checkers take this name for true. For all others there is no ``typing``: it would be a tenth
# of what the root side takes to start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, NoReturn, Self, dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class Frozen:
    """A base whose subclasses have the fields that they annotate, with their values as defaults.

    Two are equal if they are of the same class and all their fields are.
    """

    #: The type of each field, as it is written, and the value of those that may be left out.
    _fields: ClassVar[Mapping[str, str]] = {}
    _defaults: ClassVar[Mapping[str, object]] = {}

    def __init_subclass__(cls) -> None:
        own = cls.__annotations__
        cls._fields = {**cls._fields, **own}
        cls._defaults = {**cls._defaults, **{k: v for k, v in vars(cls).items() if k in own}}

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = self._fields
        given = dict(zip(fields, values, strict=False))
        whole = {**self._defaults, **given, **named}
        twice = given.keys() & named.keys()
        if len(values) > len(fields) or twice or whole.keys() != fields.keys():
            raise TypeError(f"{type(self).__name__} takes {', '.join(fields) or 'nothing'}")
        vars(self).update((name, whole[name]) for name in fields)

    @classmethod
    def fields(cls) -> Mapping[str, str]:
        """The names of the fields in their order, with their types as they are written."""
        return cls._fields

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, in their order."""
        return dict(vars(self))

    def replaced(self, **changes: Any) -> Self:
        """The same with other values in some fields. Raises ``TypeError`` for a wrong name."""
        return type(self)(**{**vars(self), **changes})

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} stays")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} stays")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__qualname__}({fields})"
