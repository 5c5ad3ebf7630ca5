"""Hands each checked call to who carries it out, and imports no more for it than that takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from types import ModuleType

from banger.privileged import checks
from banger.privileged.calls import (
    Call,
    CallFailed,
    HostsBlockSet,
    NatApply,
    NatClear,
    ResolvedClear,
    ResolvedSet,
    RulesShow,
    SnapshotAttach,
    SnapshotCall,
    SnapshotDetach,
    SnapshotProbe,
    TapCreate,
    TapDelete,
    TapFacts,
    TapRestore,
    TapShow,
)
from banger.privileged.jail_calls import JailEnd, JailStart

#: The module whose ``perform`` carries a call out, accepts "already so" and leaves the foreign
#: alone. It is imported for the first call that needs it: the root side starts anew for each
#: batch, and to import all of them takes longer than most batches do.
_MODULES: Mapping[type[Call], str] = {
    TapCreate: "taps",
    TapRestore: "taps",
    TapDelete: "taps",
    TapShow: "taps",
    RulesShow: "rules_show",
    NatApply: "nat",
    NatClear: "nat",
    HostsBlockSet: "hosts_file",
    ResolvedSet: "resolved",
    ResolvedClear: "resolved",
    SnapshotProbe: "snapshot",
    SnapshotAttach: "snapshot",
    SnapshotDetach: "snapshot",
    JailStart: "jail",
    JailEnd: "jail",
}


def load(kinds: Iterable[type[Call]]) -> None:
    """Import what carries out calls of these types.

    Before anything waits: later, it could come from another banger that was installed meanwhile.
    """
    for kind in kinds:
        _module(kind)


def perform(batch: Sequence[Call], caller_uid: int) -> list[TapFacts]:
    """Check every call, then carry them out in order; one result each.

    Raises ``CallFailed`` at the first that fails; those before it have been carried out.
    """
    for call in batch:
        checks.check(call, caller_uid)
    return [_perform(call, caller_uid) for call in batch]


def _perform(call: Call, caller_uid: int) -> TapFacts:
    try:
        done: TapFacts = _module(type(call)).perform(call, caller_uid)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        drive = isinstance(call, SnapshotCall)
        subject = "the VM's root drive" if drive else getattr(call, "name", "hosts")
        text = f"{subject}: {error.strerror or error}{where}"
        raise CallFailed("failed", text) from error
    return done


def _module(kind: type[Call]) -> ModuleType:
    return import_module(f"banger.privileged.{_MODULES[kind]}")
