"""Model objects become the bodies that go out on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from banger.api import bodies, image_bodies
from banger.daemon.image_ports import ImageFacts, Prunable
from banger.daemon.ports import Endpoint, Progress, VMFacts, VMStats
from banger.model.lifecycle import VMState
from banger.model.operation import Operation, StepRecord
from banger.model.vm import MIB

_ALIVE = frozenset({VMState.RUNNING, VMState.PAUSED, VMState.STOPPING})


def view_vm(facts: VMFacts, now: float) -> bodies.VM:
    """``now`` is Unix time in seconds, against which the uptime is counted."""
    vm = facts.vm
    spec, lease, machine, last = vm.spec, vm.lease, vm.machine, vm.last_exit
    up = vm.state in _ALIVE and vm.started_at > 0
    return bodies.VM(
        id=vm.id,
        name=vm.name,
        state=vm.state.value,
        image=spec.image_name,
        image_id=spec.image_id,
        vcpus=spec.vcpus,
        memory_mib=spec.memory_mib,
        overlay_bytes=spec.overlay_bytes,
        overlay_used_bytes=facts.overlay_used_bytes,
        work_disk_bytes=spec.work_disk_bytes,
        vmm=spec.vmm,
        storage=spec.storage,
        network=spec.network,
        profile=spec.profile,
        accelerator=machine.accelerator if machine else "",
        address=lease.address,
        mac=lease.mac,
        ssh_host=lease.ssh_host,
        ssh_port=lease.ssh_port,
        dns_name=facts.dns_name,
        pid=machine.pid if machine else 0,
        created_at=moment(vm.created_at),
        started_at=moment(vm.started_at) if vm.started_at else None,
        uptime_seconds=round(max(0.0, now - vm.started_at), 1) if up else 0.0,
        last_exit=(
            bodies.ExitFact(reason=last.reason.value, at=moment(last.at), detail=last.detail)
            if last
            else None
        ),
        problem=view_fault(vm.problem),
        directory=facts.directory,
        generation=vm.generation,
        warnings=list(facts.warnings),
        nat=spec.reach.internet,
        isolated=spec.reach.isolated,
        host_access=spec.reach.host,
        jail=spec.jail,
        restart=spec.restart,
        forwards=[
            bodies.Forward(
                protocol="udp" if f.protocol == "udp" else "tcp",
                host_port=f.host_port,
                guest_port=f.guest_port,
            )
            for f in spec.reach.forwards
        ],
    )


def view_stats(found: VMStats) -> bodies.Stats:
    vm, counters, overlay, traffic = found.vm, found.counters, found.overlay, found.traffic
    return bodies.Stats(
        id=vm.id,
        name=vm.name,
        state=vm.state.value,
        vcpus=vm.spec.vcpus,
        started_at=moment(vm.started_at),
        uptime_seconds=round(found.uptime_seconds, 1),
        read_at=counters.read_at,
        cpu_seconds=counters.cpu_seconds,
        memory_bytes=vm.spec.memory_mib * MIB,
        resident_bytes=counters.resident_bytes,
        proportional_bytes=counters.proportional_bytes,
        disk_read_bytes=counters.disk_read_bytes,
        disk_written_bytes=counters.disk_written_bytes,
        overlay_bytes=overlay.limit_bytes if overlay else None,
        overlay_used_bytes=overlay.used_bytes if overlay else None,
        received_bytes=traffic.received_bytes if traffic else None,
        sent_bytes=traffic.sent_bytes if traffic else None,
        received_packets=traffic.received_packets if traffic else None,
        sent_packets=traffic.sent_packets if traffic else None,
        received_drops=traffic.received_drops if traffic else None,
        sent_drops=traffic.sent_drops if traffic else None,
    )


def view_image(facts: ImageFacts) -> image_bodies.Image:
    image = facts.image
    return image_bodies.Image(
        id=image.id,
        name=image.name,
        state=image.state.value,
        suite=image.suite,
        size_bytes=image.size_bytes,
        allocated_bytes=image.allocated_bytes,
        rootfs_sha256=image.rootfs_sha256,
        kernel_version=image.kernel_version,
        packages_sha256=image.packages_sha256,
        docker=image.docker,
        drift=facts.drift,
        origin=image.origin,
        used_by=list(facts.used_by),
        created_at=moment(image.created_at),
        directory=facts.directory,
    )


def view_prunable(each: Prunable) -> image_bodies.Prunable:
    return image_bodies.Prunable(
        kind=each.kind, id=each.id, name=each.name, path=each.path, bytes=each.bytes
    )


def view_operation(
    operation: Operation,
    steps: Sequence[StepRecord],
    titles: Mapping[str, str],
    progress: Progress | None,
    log: str,
) -> bodies.Operation:
    """``titles`` gives the words for a step's name, ``log`` a path or nothing."""
    return bodies.Operation(
        id=operation.id,
        kind=operation.kind,
        target=bodies.Target(
            kind=operation.target_kind, id=operation.target_id, name=operation.target_name
        ),
        status=operation.status.value,
        steps=[view_step(step, titles) for step in steps],
        progress=(
            bodies.Progress(
                title=progress.title, fraction=progress.fraction, detail=progress.detail
            )
            if progress and not operation.status.ended
            else None
        ),
        error=view_fault(operation.error),
        result=operation.result,
        log=log or None,
        created_at=moment(operation.created_at),
        ended_at=moment(operation.ended_at) if operation.ended_at else None,
    )


def view_step(step: StepRecord, titles: Mapping[str, str]) -> bodies.Step:
    return bodies.Step(
        position=step.position,
        name=step.name,
        title=titles.get(step.name, step.name),
        phase=step.phase.value,
    )


def view_access(endpoint: Endpoint) -> bodies.Access:
    return bodies.Access(
        id=endpoint.id,
        name=endpoint.name,
        state=endpoint.state,
        address=endpoint.address,
        user=endpoint.user,
        host=endpoint.host,
        port=endpoint.port,
        key=endpoint.key,
        known_hosts=endpoint.known_hosts,
        host_alias=endpoint.host_alias,
        ssh=list(endpoint.ssh),
        agent=endpoint.agent,
        console_socket=endpoint.console_socket,
        console_log=endpoint.console_log,
    )


def view_fault(problem: Mapping[str, str]) -> bodies.Fault | None:
    """The stored form of an error; ``None`` when nothing is stored."""
    if not problem:
        return None
    return bodies.Fault(
        code=problem.get("code", "failed"),
        brief=problem.get("brief", ""),
        cause=problem.get("cause", ""),
        resolution=problem.get("resolution", ""),
        details=problem.get("details", ""),
    )


def moment(seconds: float) -> datetime:
    """Unix time as a date in UTC, to the millisecond."""
    return datetime.fromtimestamp(round(seconds, 3), UTC)
