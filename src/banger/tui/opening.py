"""Opens the forms and begins what they ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from banger import proposals
from banger.cli.making import DEFAULT_IMAGE
from banger.cli.ports import parse_port, port_text
from banger.cli.units import MIB, format_size
from banger.cli.values import IMAGE_NAME
from banger.cli.vm_set import CHANGEABLE, GROWABLE
from banger.client.views import OperationView, VMView, ended
from banger.errors import BangerError
from banger.tui.actions import command
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

    def _ask(
        self, title: str, fields: list[Field], words: tuple[str, ...], then: Any, *names: str
    ) -> None:
        """Open a form; ``then`` is called with its texts and the command line."""
        from banger.tui.screens.form import FormScreen

        def preview(texts: Mapping[str, str]) -> str:
            return command(words, [*names, *options(fields, texts)])

        def done(texts: Texts | None) -> None:
            if texts is not None:
                then(texts, preview(texts))

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

        def then(texts: Texts, shown: str) -> None:
            body = values(fields, texts)
            start = bool(body.pop("start"))
            self.command = shown.replace("banger run", "banger run" if start else "banger create")
            self.run_worker(self._make(body, start=start), exclusive=False)

        self._ask("New VM", fields, ("run",), then)

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
    def open_edit(self, vm: VMView) -> None:
        """The form of what a VM has; fields that cannot change now say why."""
        stopped = "" if vm["state"] in CHANGEABLE else f"it is {vm['state']}; stop it first (s)"
        growable = "" if vm["state"] in GROWABLE else f"it is {vm['state']}"
        work = format_size(vm["work_disk_bytes"]) if vm["work_disk_bytes"] else ""
        fields = [
            cpu_field(str(vm["vcpus"]))._replace(locked=stopped),
            memory_field(format_size(vm["memory_mib"] * MIB))._replace(locked=stopped),
            disk_field("overlay_bytes", "overlay", format_size(vm["overlay_bytes"]),
                       "--overlay-size", needed=True)._replace(locked=growable),
            disk_field("work_disk_bytes", "work disk", work, "--disk-size",
                       needed=False)._replace(locked=stopped),
        ]  # fmt: skip
        fields[2:] = [one._replace(limits=f"{one.limits}; grows only") for one in fields[2:]]

        def then(texts: Texts, _shown: str) -> None:
            wanted = changed(fields, texts)
            if not wanted:
                self.say("nothing was changed")
                return
            body = values(wanted, texts)
            shown = command(("vm", "set"), [vm["name"], *options(wanted, texts)])
            self.begin(shown, lambda: self.client.act(vm["id"], "set", body))

        self._ask(f"Change {vm['name']}", fields, ("vm", "set"), then, vm["name"])

    def open_rename(self, vm: VMView) -> None:
        """The form of a new name."""
        taken = [name for name in self._names() if name != vm["name"]]
        fields = [name_field(vm["name"], taken, title="new name")]

        def then(texts: Texts, _shown: str) -> None:
            name = texts["name"]
            shown = command(("rename",), [vm["name"], name])
            self.begin(shown, lambda: self.client.rename_vm(vm["id"], name))

        self._ask(f"Rename {vm['name']}", fields, ("rename",), then, vm["name"])

    def open_clone(self, vm: VMView) -> None:
        """The form of a copy's name."""
        taken = self._names()
        fields = [name_field(proposals.propose(taken), taken, title="name of the copy")]

        def then(texts: Texts, _shown: str) -> None:
            name = texts["name"]
            shown = command(("vm", "clone"), [vm["name"], name])
            self.begin(shown, lambda: self.client.act(vm["id"], "clone", {"name": name}))

        self._ask(f"Clone {vm['name']}", fields, ("vm", "clone"), then, vm["name"])

    def open_forward(self, vm: VMView) -> None:
        """The form of a published port; one that is published already is taken back."""
        published = {port_text(port) for port in vm["forwards"]}
        limits = "HOST:GUEST or HOST:GUEST/udp"
        if published:
            limits += f"; taken back: {', '.join(sorted(published))}"
        fields = [Field("port", "port", "", limits, check=lambda text: parse_port("", text))]

        def then(texts: Texts, _shown: str) -> None:
            port = parse_port("", texts["port"])
            remove = port.text in published
            words = [vm["name"], "--rm", port.text] if remove else [vm["name"], port.text]
            body = {**port._asdict(), "remove": remove}
            shown = command(("vm", "forward"), words)
            self.begin(shown, lambda: self.client.forward(vm["id"], body))

        self._ask(f"Publish a port of {vm['name']}", fields, ("vm", "forward"), then, vm["name"])

    # images
    def open_build(self) -> None:
        """The form of an image to be built from the package list."""
        fields = [
            Field("name", "name", DEFAULT_IMAGE, "a new name, or one to replace",
                  check=checked(IMAGE_NAME)),
            disk_field("size_bytes", "size", "8G", "--size", needed=True),
            Field("suite", "suite", "bookworm", "Debian release", "--suite"),
            flag_field("rebuild", "replace", "an image of that name", "--rebuild"),
        ]  # fmt: skip

        def then(texts: Texts, _shown: str) -> None:
            body = values(fields, texts)
            words = [texts["name"], *options(fields[1:], texts)]
            self.begin(command(("image", "build"), words), lambda: self.client.build_image(body))

        self._ask("Build an image", fields, ("image", "build"), then)
