"""Opens the forms and begins what they ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from banger import proposals
from banger.cli.making import DEFAULT_IMAGE
from banger.cli.ports import parse_port, port_text
from banger.cli.units import MIB, format_size
from banger.cli.values import IMAGE_NAME
from banger.cli.vm_set import CHANGEABLE, GROWABLE
from banger.client.views import OperationView, VMView, ended
from banger.errors import BangerError
from banger.tui.actions import LIVE, command
from banger.tui.doing import Doing
from banger.tui.form import (
    Field,
    changed,
    checked,
    cpu_field,
    disk_field,
    flag_field,
    memory_field,
    name_field,
    options,
    values,
)
from banger.tui.themes import Tones

Texts = dict[str, str]
#: Seconds of one wait for the end of a creation; it is waited again.
_WAIT = 20.0


class Opening(Doing):
    """The part of the app that has forms."""

    tones: Tones

    def ask(
        self,
        title: str,
        fields: list[Field],
        preview: Callable[[Texts], str],
        then: Callable[[Texts], object],
    ) -> None:
        """Open a form; ``preview`` makes the command line of its texts, ``then`` does it."""
        from banger.tui.screens.form import FormScreen

        def done(texts: Texts | None) -> None:
            if texts is not None:
                self.command = preview(texts)
                then(texts)

        self.push_screen(FormScreen(title, fields, preview, self.tones), done)

    def _names(self) -> list[str]:
        return [vm["name"] for vm in self.world.vms.values()]

    # a new VM
    def open_create(self, image: str = "") -> None:
        """The form of a new VM."""
        taken = self._names()
        images = [one["name"] for one in self.world.images.values() if one["state"] == "ready"]
        image = image or (DEFAULT_IMAGE if DEFAULT_IMAGE in images or not images else images[0])
        missing = "" if image in images else "it is built first, which takes minutes"
        fields = [
            name_field(proposals.propose(taken), taken, option="--name"),
            Field("image", "image", image, missing or "space takes another", "--image",
                  checked(IMAGE_NAME), tuple(images) or (image,)),
            cpu_field("2"),
            memory_field("1G"),
            disk_field("overlay_bytes", "overlay", "8G", "--overlay-size", needed=True),
            disk_field("work_disk_bytes", "work disk", "", "--disk-size", needed=False),
            Field("network", "network", "auto", "tap needs root; user does not", "--network",
                  choices=("auto", "tap", "user")),
            flag_field("nat", "internet", "NAT on", "--nat"),
            flag_field("start", "start it", "and wait until it answers", on=True),
        ]  # fmt: skip

        def preview(texts: Texts) -> str:
            return command(
                ("run" if texts["start"] == "yes" else "create",), options(fields, texts)
            )

        def then(texts: Texts) -> None:
            body = values(fields, texts)
            start = bool(body.pop("start"))
            self.run_worker(self._make(body, start=start), exclusive=False)

        self.ask("New VM", fields, preview, then)

    async def _make(self, body: dict[str, Any], *, start: bool) -> None:
        ready = [one["name"] for one in self.world.images.values() if one["state"] == "ready"]
        if body["image"] not in ready:
            building = await self.ask_daemon(
                lambda: self.client.build_image({"name": body["image"]})
            )
            if building is None or not await self._succeeds(building):
                return
        created = await self.ask_daemon(lambda: self.client.create_vm(body))
        if created is None or not start or not await self._succeeds(created):
            return
        await self.ask_daemon(lambda: self.client.act(created["target"]["id"], "start"))

    async def _succeeds(self, operation: OperationView) -> bool:
        """Whether the operation, once it has ended, has succeeded."""
        identity = operation["id"]
        while not ended(operation):
            try:
                operation = await asyncio.to_thread(
                    lambda: self.client.operation(identity, wait=_WAIT)
                )
            except BangerError:
                await asyncio.sleep(1.0)  # the daemon may come back, and the journal is true
                if self.world.live and identity not in self.world.operations:
                    return False
        return operation["status"] == "succeeded"

    # changes
    def open_edit(self, vms: Sequence[VMView]) -> None:
        """The form of what VMs have; fields that cannot change now say why.

        Of several VMs only what is typed is changed, and for all of them.
        """
        one = vms[0] if len(vms) == 1 else None
        fields = [
            cpu_field(str(one["vcpus"]) if one else ""),
            memory_field(_size_text(one["memory_mib"] * MIB) if one else ""),
            disk_field("overlay_bytes", "overlay", _size_text(one["overlay_bytes"]) if one else "",
                       "--overlay-size", needed=True),
            disk_field("work_disk_bytes", "work disk",
                       _size_text(one["work_disk_bytes"]) if one and one["work_disk_bytes"] else "",
                       "--disk-size", needed=False),
        ]  # fmt: skip
        fields = [
            field._replace(
                needed=field.needed and one is not None,
                locked=_lock(vms, GROWABLE if field.key == "overlay_bytes" else CHANGEABLE),
                limits=field.limits + ("; grows only" if field.key.endswith("_bytes") else ""),
            )
            for field in fields
        ]
        names = [vm["name"] for vm in vms]

        def preview(texts: Texts) -> str:
            wanted = options(changed(fields, texts), texts)
            return command(("vm", "set"), [*names, *wanted]) if wanted else ""

        def then(texts: Texts) -> None:
            body = values(changed(fields, texts), texts)
            if not body:
                self.say("nothing was changed")
            for vm in vms if body else ():
                self.begin(partial(self.client.act, vm["id"], "set", body))

        self.ask(f"Change {names[0] if one else f'{len(vms)} VMs'}", fields, preview, then)

    def open_rename(self, vm: VMView) -> None:
        """The form of a new name."""
        taken = [name for name in self._names() if name != vm["name"]]
        fields = [name_field(vm["name"], taken, title="new name")]

        self.ask(
            f"Rename {vm['name']}",
            fields,
            lambda texts: command(("rename",), [vm["name"], texts["name"]]),
            lambda texts: self.begin(lambda: self.client.rename_vm(vm["id"], texts["name"])),
        )

    def open_clone(self, vm: VMView) -> None:
        """The form of a copy's name."""
        taken = self._names()
        fields = [name_field(proposals.propose(taken), taken, title="name of the copy")]

        def then(texts: Texts) -> None:
            body = {"name": texts["name"]}
            self.begin(lambda: self.client.act(vm["id"], "clone", body))

        self.ask(
            f"Clone {vm['name']}",
            fields,
            lambda texts: command(("vm", "clone"), [vm["name"], texts["name"]]),
            then,
        )

    def open_forward(self, vm: VMView) -> None:
        """The form of a published port; one that is published already is taken back."""
        published = {port_text(port) for port in vm["forwards"]}
        limits = "HOST:GUEST or HOST:GUEST/udp"
        if published:
            limits += f"; taken back: {', '.join(sorted(published))}"
        fields = [Field("port", "port", "", limits, check=lambda text: parse_port("", text))]

        def preview(texts: Texts) -> str:
            text = parse_port("", texts["port"]).text
            words = ["--rm", text] if text in published else [text]
            return command(("vm", "forward"), [vm["name"], *words])

        def then(texts: Texts) -> None:
            port = parse_port("", texts["port"])
            body = {**port._asdict(), "remove": port.text in published}
            self.begin(lambda: self.client.forward(vm["id"], body))

        self.ask(f"Publish a port of {vm['name']}", fields, preview, then)


def _lock(vms: Sequence[VMView], states: Collection[str]) -> str:
    """Why something that is only possible in ``states`` is not now; empty if it is."""
    wrong = [vm for vm in vms if vm["state"] not in states]
    if not wrong:
        return ""
    who = "it" if len(vms) == 1 else wrong[0]["name"]
    stop = ", s stops it" if wrong[0]["state"] in LIVE else ""
    return f"{who} is {wrong[0]['state']}{stop}"


def _size_text(size: int) -> str:
    """``size`` as one types it: ``8G``."""
    text = format_size(size)
    number, _, unit = text.partition(" ")
    return f"{number}{unit[:1]}" if unit != "B" else str(-(-size // MIB))
