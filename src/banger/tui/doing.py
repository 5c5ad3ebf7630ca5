"""Does what the keys ask for: asks before, begins operations, tells how they ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from textual.app import App

from banger.cli.progress import label
from banger.client.client import BangerClient
from banger.client.views import OperationView, VMView, ended
from banger.errors import BangerError
from banger.tui.actions import Act, Danger, command, danger_of, legal
from banger.tui.bars import operation_failure
from banger.tui.world import World


class Doing(App[None]):
    """The part of the app that changes things; ``said`` and ``command`` are shown below."""

    client: BangerClient
    world: World

    def __init__(self) -> None:
        super().__init__()
        self.said = ""
        self.command = ""
        self._typed: list[str] = []
        self._own: set[str] = set()
        self._trouble: tuple[BangerError, str] | None = None

    def draw(self) -> None:
        raise NotImplementedError

    # what is told
    def say(self, text: str) -> None:
        """Show ``text`` where operations are shown, until something else is."""
        self.said = text
        self.draw()

    def trouble(self) -> tuple[BangerError, str] | None:
        """The error to show and the path of its log; that of the daemon comes first."""
        if self.world.lost is not None:
            return self.world.lost, ""
        return self._trouble

    def forget_trouble(self) -> bool:
        """Close the error that is shown; False if it is one that lasts."""
        if self.world.lost is not None:
            return False
        self._trouble = None
        return True

    def fail(self, error: BangerError, log: str = "") -> None:
        """Show an error until it is closed."""
        self._trouble = (error, log)
        self.draw()

    def copy_shown(self) -> None:
        """Give the terminal's clipboard the error that is shown, else the last command."""
        trouble = self.trouble()
        if trouble is not None:
            error, log = trouble
            lines = [error.brief, error.cause, error.resolution, log]
            text, what = "\n".join(line for line in lines if line), "the error"
        else:
            text, what = self.command, self.command
        if text:
            self.copy_to_clipboard(text)
            self.say(f"copied {what}")

    def judge_ended(self) -> None:
        """Tell how operations of ours ended."""
        finished, self.world.ended = self.world.ended, []
        for operation in finished:
            if operation["id"] not in self._own:
                continue
            self._own.discard(operation["id"])
            self._tell_end(operation)

    def _tell_end(self, operation: OperationView) -> None:
        failed = operation_failure(operation)
        if operation["status"] == "cancelled":
            self.said = f"○ {label(operation)} cancelled"
        elif failed is not None:
            self.said = f"✗ {label(operation)} {operation['status']}"
            self._trouble = failed
        else:
            self.said = f"✓ {label(operation)}"

    # what is done
    def do(self, act: Act | None, vms: Sequence[VMView]) -> None:
        """Do it to those of ``vms`` that are in the right state, after asking where needed."""
        possible = legal(act, vms) if act else []
        if act is None or not possible:
            self.say(_impossible(act, vms))
            return
        names = [vm["name"] for vm in possible]
        self.command = command(act.words, names)
        if act.danger is Danger.NONE:
            self.run_worker(self._begin(act, possible), exclusive=False)
            return
        from banger.tui.screens.confirm import ConfirmScreen

        question = ConfirmScreen(act, names, danger_of(act, len(names)), self.command)
        self.push_screen(question, lambda yes: self._answered(yes, act, possible))

    def _answered(self, yes: bool | None, act: Act, vms: Sequence[VMView]) -> None:  # noqa: FBT001 - the screen's result
        if yes:
            self.run_worker(self._begin(act, vms), exclusive=False)
        else:
            self.command = ""
            self.say("nothing was changed")

    async def _begin(self, act: Act, vms: Sequence[VMView]) -> None:
        for vm in vms:
            await self.ask_daemon(partial(act.begin, self.client, vm))

    async def ask_daemon(self, begin: Callable[[], OperationView]) -> OperationView | None:
        """Begin an operation in a thread; an error is shown. None for that."""
        try:
            operation = await asyncio.to_thread(begin)
        except BangerError as error:
            self.said = ""
            self.fail(error)
            return None
        self._trouble = None
        self._take_operation(operation)
        return operation

    def _take_operation(self, operation: OperationView) -> None:
        known = self.world.operations.get(operation["id"])
        if known is not None and ended(known):
            self._tell_end(known)
        else:
            if known is None:
                self.world.operations[operation["id"]] = operation
            self._own.add(operation["id"])
            self.said = label(operation)
        self.draw()

    def begin(self, begin: Callable[[], OperationView], shown: str = "") -> None:
        """Begin one operation; ``shown`` is the command that would begin it too."""
        self.command = shown or self.command
        work: Coroutine[Any, Any, OperationView | None] = self.ask_daemon(begin)
        self.run_worker(work, exclusive=False)


def _impossible(act: Act | None, vms: Sequence[VMView]) -> str:
    if not vms:
        return "no VM is chosen"
    states = ", ".join(sorted({vm["state"] for vm in vms}))
    what = act.title if act else "this"
    return (
        f"{what} is not possible: {vms[0]['name']} is {states}"
        if len(vms) == 1
        else (f"{what} is possible for none of the {len(vms)} marked: they are {states}")
    )
