"""What the command line repeats, to stay quick, is what the model and the API say."""

from __future__ import annotations

import msgspec
import pytest

from banger.api import bodies, image_bodies, requests
from banger.cli import making, values, vm_change, vm_options, vm_power, vm_remake, vm_set
from banger.client import views
from banger.model import image, vm
from banger.model.lifecycle import LEGAL, Action


def test_limits() -> None:
    for name in ("MAX_VCPUS", "MIN_MEMORY_MIB", "MAX_MEMORY_MIB", "MIN_DISK_BYTES",
                 "MAX_DISK_BYTES"):  # fmt: skip
        assert getattr(values, name) == getattr(vm, name)
    assert making.DEFAULT_IMAGE == image.DEFAULT_IMAGE
    assert making.DOCKER_IMAGE == image.DOCKER_IMAGE
    assert making.DEFAULT_SUITE == image.DEFAULT_SUITE


@pytest.mark.parametrize("verb", ["START", "STOP", "RESTART", "KILL", "PAUSE", "RESUME"])
def test_states(verb: str) -> None:
    assert set(getattr(vm_power, verb).states) == {str(s) for s in LEGAL[Action(verb.lower())]}


def test_deletable_states() -> None:
    assert set(vm_change.DELETABLE) == {str(s) for s in LEGAL[Action.DELETE]}


def test_states_of_changes() -> None:
    assert set(vm_set.CHANGEABLE) == {str(s) for s in LEGAL[Action.CHANGE]}
    assert set(vm_set.GROWABLE) == {str(s) for s in LEGAL[Action.GROW]}
    assert set(vm_remake.CLONEABLE) == {str(s) for s in LEGAL[Action.CLONE]}
    assert set(vm_remake.REBUILDABLE) == {str(s) for s in LEGAL[Action.REBUILD]}
    assert set(vm_set.BODY.values()) == set(requests.SetVM.__struct_fields__)


def test_fields_of_a_creation() -> None:
    assert set(vm_options.BODY.values()) == set(requests.CreateVM.__struct_fields__)


@pytest.mark.parametrize(
    ("view", "body"),
    [
        ("VMView", "VM"),
        ("ImageView", "Image"),
        ("PrunableView", "Prunable"),
        ("OperationView", "Operation"),
        ("AccessView", "Access"),
        ("StepView", "Step"),
        ("ProgressView", "Progress"),
    ],
)
def test_objects(view: str, body: str) -> None:
    kind = getattr(bodies, body, None) or getattr(image_bodies, body)
    sent = {field.encode_name for field in msgspec.structs.fields(kind)}
    assert set(getattr(views, view).__annotations__) <= sent
