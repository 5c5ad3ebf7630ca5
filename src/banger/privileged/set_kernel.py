"""Lists and changes the elements of nftables' sets in the kernel, without running nft."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence

from banger.privileged import set_elements
from banger.privileged.netlink import (
    ACK,
    CREATE,
    REQUEST,
    Interrupted,
    Kernel,
    Message,
    attribute,
    attributes,
    nested,
)
from banger.privileged.ruleset import Change, Content
from banger.privileged.set_elements import Form, Parts

#: linux/netlink.h: the socket module has no name for it.
_NETLINK_NETFILTER = 12
#: linux/netfilter/nfnetlink.h and nf_tables.h.
_NFPROTO_INET = 1
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NFTABLES = 10
_GETTABLE, _GETSET, _NEWSETELEM, _GETSETELEM, _DELSETELEM, _GETGEN = (
    _NFTABLES << 8 | number for number in (1, 10, 12, 13, 14, 16)
)
_TABLE_NAME = 1
_GENERATION_ID = 1
_SET_TABLE, _SET_NAME = 1, 2
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_LIST_ELEM = 1
_ELEM_KEY, _ELEM_DATA = 1, 2
_VALUE = 1
#: family, version, resource id (in network byte order).
_HEAD = struct.Struct(">BBH")
#: How often a listing that changed meanwhile is begun anew.
_TRIES = 50


def generation() -> int:
    """A number that each change of any table moves on, by one. Raises ``OSError``."""
    with Kernel(_NETLINK_NETFILTER) as kernel:
        told = _told(kernel.ask(_GETGEN, _HEAD.pack(0, 0, 0)))
    return int.from_bytes(told[_GENERATION_ID], "big")


def tables() -> list[str]:
    """The names of the tables of the family ``inet``. Raises ``OSError``."""
    return list(_steadily(_tables))


def content(table: str, forms: Mapping[str, Form]) -> Content:
    """The elements of those sets of the table that are in ``forms`` and there.

    Raises ``OSError`` (``ENOENT`` if the table is gone) or ``ValueError`` for a set that
    holds something else than its form says.
    """
    return _steadily(lambda kernel: _content(kernel, table, forms))


def change(table: str, changes: Sequence[Change], forms: Mapping[str, Form]) -> None:
    """Make all changes or none. Raises ``OSError`` if the sets were not as they were read."""
    if changes:
        with Kernel(_NETLINK_NETFILTER) as kernel:
            kernel.do([*batch(table, changes, forms)])


def batch(table: str, changes: Sequence[Change], forms: Mapping[str, Form]) -> Iterator[Message]:
    """The messages that make all changes or none."""
    edge = _HEAD.pack(0, 0, _NFTABLES)
    yield Message(_BATCH_BEGIN, REQUEST, edge)
    for each in changes:
        kind, flags = (_NEWSETELEM, CREATE) if each.adds else (_DELSETELEM, 0)
        form = forms[each.name]
        body = (
            _HEAD.pack(_NFPROTO_INET, 0, 0)
            + attribute(_LIST_TABLE, _text(table))
            + attribute(_LIST_SET, _text(each.name))
            + nested(
                _LIST_ELEMENTS,
                *(_element(form, key, value, each) for key, value in each.elements.items()),
            )
        )
        yield Message(kind, REQUEST | ACK | flags, body)
    yield Message(_BATCH_END, REQUEST, edge)


def _steadily(read: Callable[[Kernel], Content]) -> Content:
    """What ``read`` finds; begun anew while others change what it lists."""
    tries_left = _TRIES
    while True:
        tries_left -= 1
        try:
            with Kernel(_NETLINK_NETFILTER) as kernel:
                return read(kernel)
        except Interrupted:
            if not tries_left:
                raise


def _element(form: Form, key: Parts, value: Parts, change: Change) -> bytes:
    parts = [nested(_ELEM_KEY, attribute(_VALUE, set_elements.encode(form.key, key)))]
    if form.value and change.adds:
        data = set_elements.encode(form.value, value)
        parts.append(nested(_ELEM_DATA, attribute(_VALUE, data)))
    return nested(_LIST_ELEM, *parts)


def _tables(kernel: Kernel) -> Content:
    # What is in them is asked for by name.
    replies = kernel.dump(_GETTABLE, _HEAD.pack(_NFPROTO_INET, 0, 0))
    return {_name(_told(reply)[_TABLE_NAME]): {} for reply in replies}


def _content(kernel: Kernel, table: str, forms: Mapping[str, Form]) -> Content:
    asked = _HEAD.pack(_NFPROTO_INET, 0, 0) + attribute(_SET_TABLE, _text(table))
    names = {_name(_told(reply)[_SET_NAME]) for reply in kernel.dump(_GETSET, asked)}
    return {
        name: dict(_elements(kernel, table, name, form))
        for name, form in forms.items()
        if name in names
    }


def _elements(kernel: Kernel, table: str, name: str, form: Form) -> Iterator[tuple[Parts, Parts]]:
    asked = (
        _HEAD.pack(_NFPROTO_INET, 0, 0)
        + attribute(_LIST_TABLE, _text(table))
        + attribute(_LIST_SET, _text(name))
    )
    for reply in kernel.dump(_GETSETELEM, asked):
        for _, element in attributes(_told(reply).get(_LIST_ELEMENTS, b"")):
            found = dict(attributes(element))
            key = set_elements.decode(form.key, _value(found.get(_ELEM_KEY, b"")))
            value = _value(found[_ELEM_DATA]) if form.value and _ELEM_DATA in found else b""
            yield key, set_elements.decode(form.value, value)


def _told(message: Message) -> dict[int, bytes]:
    return dict(attributes(message.body[_HEAD.size :]))


def _value(data: bytes) -> bytes:
    return dict(attributes(data)).get(_VALUE, b"")


def _name(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _text(name: str) -> bytes:
    return os.fsencode(name) + b"\0"
