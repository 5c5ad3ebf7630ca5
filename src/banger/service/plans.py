"""The registry of operation kinds; failpoints and recovery are enumerated from it."""

from __future__ import annotations

from banger.service.boot import StartPlan
from banger.service.build import BuildPlan
from banger.service.clone import ClonePlan
from banger.service.create import CreatePlan
from banger.service.customize import CustomizePlan
from banger.service.delete import DeletePlan
from banger.service.halt import ExitPlan, KillPlan, StopPlan
from banger.service.image_delete import ImageDeletePlan
from banger.service.image_rename import ImageRenamePlan
from banger.service.importing import ImportPlan
from banger.service.keep import KeepPlan
from banger.service.pause import PausePlan, ResumePlan
from banger.service.reach import ForwardPlan, NatPlan
from banger.service.rebuild import RebuildPlan
from banger.service.register import RegisterPlan
from banger.service.rename import RenamePlan
from banger.service.restart import RestartPlan
from banger.service.sizes import SetPlan
from banger.service.steps import failpoint_names
from banger.service.target_plan import TargetPlan

_ALL: tuple[type[TargetPlan], ...] = (
    CreatePlan,
    StartPlan,
    StopPlan,
    KillPlan,
    ExitPlan,
    RestartPlan,
    PausePlan,
    ResumePlan,
    RenamePlan,
    SetPlan,
    ClonePlan,
    RebuildPlan,
    NatPlan,
    ForwardPlan,
    DeletePlan,
    BuildPlan,
    CustomizePlan,
    RegisterPlan,
    KeepPlan,
    ImportPlan,
    ImageRenamePlan,
    ImageDeletePlan,
)

PLANS: dict[str, type[TargetPlan]] = {plan.kind: plan for plan in _ALL}


def all_failpoints() -> list[str]:
    """Every failpoint there is."""
    return [name for plan in _ALL for name in failpoint_names(plan)]
