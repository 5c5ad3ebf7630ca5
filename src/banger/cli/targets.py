"""Does one thing to several VMs or images: begins all, follows each, reports every failure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from banger.cli.failures import show, with_suggestion
from banger.cli.listing import Output, print_json
from banger.cli.progress import complete, label
from banger.cli.session import note, say
from banger.cli.text import clean
from banger.client.client import BangerClient
from banger.client.views import OperationView
from banger.errors import PARTLY_FAILED, BangerError, InvalidInput, NotFound

#: Operations that are begun before the first of them has ended.
AT_ONCE = 16


class Outcome(NamedTuple):
    """What became of one target; ``error`` is None for success."""

    ref: str
    operation: OperationView | None
    error: BangerError | None


def expand(
    client: BangerClient, refs: Sequence[str], *, everything: bool, states: Iterable[str] = ()
) -> list[str]:
    """The VMs meant: names as they are, patterns and ``--all`` looked up.

    ``--all`` takes the VMs in ``states`` only (all of them if empty), by id, so that a name
    which is changed or taken by another VM meanwhile cannot be hit.
    """
    if everything and refs:
        raise InvalidInput(
            "names and --all exclude each other",
            cause="--all already means every VM",
            resolution="give either names or --all",
        )
    if not everything and not refs:
        raise InvalidInput(
            "no VM is named", cause="at least one name, or --all, is needed", resolution="banger ls"
        )
    if not everything and not any(is_pattern(ref) for ref in refs):
        return list(dict.fromkeys(refs))
    from fnmatch import fnmatchcase

    vms = client.vms(("id", "name", "state"))
    if everything:
        allowed = frozenset(states)
        return [vm["id"] for vm in vms if not allowed or vm["state"] in allowed]
    found: list[str] = []
    for ref in refs:
        if not is_pattern(ref):
            found.append(ref)
            continue
        matches = [vm["name"] for vm in vms if fnmatchcase(vm["name"], ref)]
        if not matches:
            raise NotFound(
                f"no VM matches {ref!r}", cause="the pattern fits no name", resolution="banger ls"
            )
        found += matches
    return list(dict.fromkeys(found))


def is_pattern(ref: str) -> bool:
    """Whether ``ref`` is a pattern, which no name can be mistaken for."""
    return "*" in ref or "?" in ref


def suggest(
    client: BangerClient,
    error: NotFound,
    ref: str,
    known: Callable[[], Sequence[str]] | None = None,
) -> NotFound:
    """``error`` with the names that ``ref`` may have meant: ``known``, or those of VMs."""
    try:
        names = known() if known else [vm["name"] for vm in client.vms(("id", "name"))]
    except BangerError:
        return error
    return with_suggestion(error, ref, names)


def act(
    client: BangerClient,
    refs: Sequence[str],
    begin: Callable[[str], OperationView],
    *,
    quiet: bool = False,
    known: Callable[[], Sequence[str]] | None = None,
) -> list[Outcome]:
    """Begin the operation for every target, some ahead of the others, and follow each.

    ``known`` gives the names there are, for suggestions; VMs' if absent.
    """
    outcomes: list[Outcome] = []
    begun: list[Outcome] = []
    waiting = list(refs)
    try:
        while waiting or begun:
            while waiting and len(begun) < AT_ONCE:
                begun.append(_begin(client, waiting.pop(0), begin, known))
            outcomes.append(_finish(client, begun[0], quiet=quiet))
            del begun[0]
    except KeyboardInterrupt:
        detach([o.operation for o in begun if o.operation is not None])
        if waiting:
            note(f"not begun: {' '.join(clean(ref) for ref in waiting)}")
        raise
    return outcomes


def _begin(
    client: BangerClient,
    ref: str,
    begin: Callable[[str], OperationView],
    known: Callable[[], Sequence[str]] | None,
) -> Outcome:
    try:
        return Outcome(ref, begin(ref), None)
    except NotFound as error:
        return Outcome(ref, None, suggest(client, error, ref, known))
    except BangerError as error:
        return Outcome(ref, None, error)


def _finish(client: BangerClient, outcome: Outcome, *, quiet: bool) -> Outcome:
    if outcome.operation is None:
        return outcome
    try:
        return outcome._replace(operation=complete(client, outcome.operation, quiet=quiet))
    except BangerError as error:
        return outcome._replace(error=error)


def detach(operations: Sequence[OperationView]) -> None:
    """Tell how to go on with, or end, what the daemon does without us."""
    if sys.stderr.isatty():
        note("")
    for operation in operations:
        note(f"{label(operation)} continues: banger op wait {operation['id']}")
        note(f"  to end and undo it: banger op cancel {operation['id']}")


def report(outcomes: Sequence[Outcome], done: str, output: Output, shown: str = "") -> int:
    """Print what was done (to ``shown`` or the target's name) and what failed; the exit status.

    One failed target alone gives its own status; of several, 8 says that some succeeded.
    """
    if output.json:
        print_json([outcome.operation for outcome in outcomes if outcome.error is None])
    failures = [outcome.error for outcome in outcomes if outcome.error is not None]
    for outcome in outcomes:
        if outcome.error is not None:
            show(outcome.error, as_json=output.json)
        elif not output.json and outcome.operation is not None:
            name = shown or outcome.operation["target"]["name"]
            say(name if output.quiet else f"{done} {name}")
    if not failures:
        return 0
    statuses = {error.exit_status for error in failures}
    if len(failures) < len(outcomes):
        return PARTLY_FAILED
    return statuses.pop() if len(statuses) == 1 else 1
