"""Makes VMs: the image first if it is missing, and nothing left behind when interrupted."""

from __future__ import annotations

import os
from typing import Any

from banger.cli.interrupts import held
from banger.cli.progress import complete
from banger.cli.session import note
from banger.cli.text import clean
from banger.client.client import BangerClient
from banger.client.views import ImageView, OperationView, VMView, ended
from banger.errors import BangerError, NotFound

#: The images that are built on demand; ``banger.model.image`` has the same (a test compares).
DEFAULT_IMAGE = "debian"
DOCKER_IMAGE = "docker-debian"
DEFAULT_SUITE = "bookworm"


def suite_field(suite: str) -> dict[str, str]:
    """The field of a build's request for a Debian release; nothing for the default one."""
    return {} if suite == DEFAULT_SUITE else {"suite": suite}


class Making:
    """One VM on its way to be there; ``remove`` takes back whatever was reached."""

    def __init__(self, client: BangerClient, *, quiet: bool, suite: str = DEFAULT_SUITE):
        self._client = client
        self._suite = suite
        self._quiet = quiet
        self._operation: OperationView | None = None
        self.vm_id = ""

    def image(self, body: dict[str, Any], default: str) -> None:
        """Build the image that ``body`` needs if it is missing and one that is built on demand:
        the ``default`` one, ``debian`` or ``docker-debian``.

        A root file system of the user's own still needs a kernel: the image's, or their own.
        """
        if body.get("rootfs") and body.get("kernel"):
            return
        name = body.get("image") or default
        found = next((i for i in self._client.images() if i["name"] == name), None)
        if found is not None and found["state"] == "ready":
            self._warn_of_drift(found)
            return
        building = next(
            (
                operation
                for operation in self._client.operations(active=True)
                if operation["kind"] == "image.build" and operation["target"]["name"] == name
            ),
            None,
        )
        if building is not None:
            note(f"the image {name} is being built already; waiting for it")
            # Not ours to cancel: another call began it.
            complete(self._client, building, quiet=self._quiet)
            return
        if name not in (default, DEFAULT_IMAGE, DOCKER_IMAGE):
            raise NotFound(
                f"there is no image {name!r}",
                cause=f"only {default!r} and {DOCKER_IMAGE!r} are built by themselves",
                resolution=f"banger image build {name}",
            )
        note(f"the image {name} is built first; this happens once and takes a few minutes")
        with held():
            self._operation = self._client.build_image({"name": name, **suite_field(self._suite)})
        self._finish()

    def create(self, body: dict[str, Any]) -> None:
        """Create the VM; afterwards ``vm_id`` is set."""
        key = os.urandom(16).hex()
        with held():
            self._operation = self._client.create_vm(body, key)
            self.vm_id = self._operation["target"]["id"]
        self._finish()

    def start(self, *, wait: bool, timeout: float) -> None:
        """Start the VM, and wait until it answers if ``wait``."""
        with held():
            body = {"wait": wait, "timeout": timeout}
            self._operation = self._client.act(self.vm_id, "start", body)
        self._finish()

    def vm(self) -> VMView:
        """The VM as it is now, its warnings told."""
        vm = self._client.vm(self.vm_id)
        for warning in vm.get("warnings") or ():
            note(f"warning: {clean(warning)}")
        return vm

    def _finish(self) -> None:
        if self._operation is not None:
            complete(self._client, self._operation, quiet=self._quiet)
            self._operation = None

    def _warn_of_drift(self, image: ImageView) -> None:
        if image.get("drift"):
            note(
                f"warning: the package list has changed since the image {image['name']} was"
                f" built; to use it: banger image build {image['name']} --rebuild"
            )

    def remove(self) -> None:
        """Cancel what runs and delete the VM; what is already gone is fine."""
        operation, self._operation = self._operation, None
        try:
            if operation is not None and not ended(operation):
                operation = self._client.cancel(operation["id"])
                while not ended(operation):
                    operation = self._client.operation(operation["id"], wait=20)
            if self.vm_id:
                deleting = self._client.delete_vm(self.vm_id, force=True)
                while not ended(deleting):
                    deleting = self._client.operation(deleting["id"], wait=20)
        except NotFound:
            pass
        except BangerError as error:
            note(f"warning: not everything could be removed: {clean(error.brief)}")
