"""Keeps what all tables of banger say for as long as nobody has changed any table.

To read them costs a request for each set, and an answer as long as there are guests. The kernel
counts its changes (the generation), so what was read is true while that number stands. A process
that makes one batch and ends gains nothing by it, and loses next to nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from banger.privileged import set_kernel
from banger.privileged.frozen import Frozen
from banger.privileged.ruleset import Rules


class Reading(Frozen):
    """What was true in one network namespace at one generation, which stays true for ever.

    A ``generation`` of -1 stands for one that is not known.
    """

    namespace: int
    generation: int
    tables: Mapping[str, Rules]


_last = Reading(-1, -1, {})


def read(look: Callable[[], Mapping[str, Rules]]) -> Reading:
    """The tables: those known if nothing has changed since, else what ``look`` finds.

    Raises what ``look`` raises, and ``OSError``.
    """
    namespace, generation, last = _namespace(), set_kernel.generation(), _last
    if (last.namespace, last.generation) == (namespace, generation):
        return last
    tables = dict(look())
    if set_kernel.generation() != generation:
        generation = -1  # somebody changed something meanwhile
    return _keep(Reading(namespace, generation, tables))


def changed(before: Reading, name: str, rules: Rules) -> None:
    """Tell that a change of ours has just made ``rules`` of a table, as ``before`` was true.

    If anybody else has changed something since, the number is another one: nothing is kept.
    """
    if before.generation >= 0 and set_kernel.generation() == before.generation + 1:
        tables = {**before.tables, name: rules}
        _keep(Reading(before.namespace, before.generation + 1, tables))


def _keep(reading: Reading) -> Reading:
    # Replaced as a whole, and each is true by itself: no lock is needed.
    global _last
    if reading.generation >= 0:
        _last = reading
    return reading


def _namespace() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino  # noqa: PTH116 - it is quick
