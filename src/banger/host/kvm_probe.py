"""Proves what KVM can do here by booting guests, and remembers the proof until the next boot."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
from enum import StrEnum
from pathlib import Path

from msgspec import Struct, structs

from banger.errors import BangerError, HostNotReady
from banger.host import files, process
from banger.host.command import find_program
from banger.host.firecracker_binary import find_firecracker
from banger.host.firecracker_trial import firecracker_argv
from banger.host.tiny_guest import tiny_guest
from banger.host.trial import Trial, in_memory, qemu_argv, run_bare_trial, run_trial
from banger.paths import Paths

_DEVICE = Path("/dev/kvm")
_CPUINFO = Path("/proc/cpuinfo")
#: linux/kvm.h: _IO(0xAE, 0); every kernel since 2.6.22 answers 12.
_GET_API_VERSION = 0xAE00
_API_VERSION = 12
#: Limits in seconds, of silence. Where KVM works, the first takes 0.1 and the second about one.
#: When the first had two, a busy host was once taken for one whose KVM runs nothing at all.
BARE_TIMEOUT = 5.0
LINUX_TIMEOUT = 8.0
#: By how much they are longer where the CPU says that it can virtualize. There a guest runs,
#: if slowly: in a VM of an emulator Linux takes about 10 s. Where it says nothing, KVM is a
#: replacement in software, in which no Linux boots however long one waits.
_PATIENCE = 8.0
_CAPABLE = frozenset({"vmx", "svm"})
#: The machine and CPU that the QEMU driver uses with KVM, so that the proof holds for it.
MACHINE = "microvm,x-option-roms=off,rtc=on,acpi=on,pit=off,pic=off,isa-serial=on"
CPU = "host"
#: For the bare guest: a CPU model that asks for little, so that a failure is KVM's own.
_BARE_CPU = "qemu64"
_GREETING = "banger: a bare guest runs"
#: A kernel that says one of these has set up memory, interrupts, clock and processes.
_LINUX_LIVES = (
    r"Run \S+ as init process|Kernel panic - not syncing: (VFS|No working init|Attempted to kill)"
)
#: Counts up whenever the way of probing changes, so that old verdicts are dropped.
_VERSION = 3


class KvmLevel(StrEnum):
    """How far KVM was seen to go, from nothing to what a VM needs."""

    MISSING = "missing"
    REFUSED = "refused"
    OPENS_ONLY = "opens-only"
    BARE_ELF = "bare-elf"
    LINUX = "linux"


class KvmVerdict(Struct, frozen=True):
    """What was seen: one sentence of ``evidence``, the time it took, and console output."""

    level: KvmLevel
    evidence: str
    seconds: float = 0.0
    detail: str = ""

    @property
    def boots_linux(self) -> bool:
        return self.level is KvmLevel.LINUX


def probe_kvm(paths: Paths, kernel: Path | None = None, *, refresh: bool = False) -> KvmVerdict:
    """Find out what KVM can do, mostly within ten seconds (blocking), or recall it.

    On a CPU that can virtualize, but is very slow, it may be minutes. ``kernel`` is what Linux
    is tried with, by default the newest image's or else the host's own. It is tried in QEMU, or
    in Firecracker where that alone is installed. The verdict is kept until the host boots again,
    or the VMM or the kernel changes; ``refresh`` forgets it.
    """
    verdict = _open_device()
    if verdict.level is not KvmLevel.OPENS_ONLY:
        return verdict  # cheap to see, and soon mended: never remembered
    vmm = _vmm_to_try(paths)
    if vmm is None:
        nothing = "neither QEMU nor Firecracker is installed, so no guest could be tried"
        return KvmVerdict(verdict.level, nothing)
    kernel = kernel or kernel_to_try(paths)
    key = _key(vmm.program, kernel)
    known = {} if refresh else _recall(paths.kvm_verdict)
    if key not in known:
        known[key] = _try_guests(vmm, kernel)
        _remember(paths, known)
    return known[key]


def kernel_to_try(paths: Paths) -> Path | None:
    """The newest image's kernel; without images the host's own, where we may read it."""
    found = [*paths.images.glob("*/vmlinux")] if paths.images.is_dir() else []
    found += [Path(f"/boot/vmlinuz-{platform.release()}")] if not found else []
    readable = [path for path in found if os.access(path, os.R_OK)]
    return max(readable, key=lambda path: path.stat().st_mtime_ns, default=None)


def _open_device() -> KvmVerdict:
    try:
        descriptor = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        refused = error.errno in (errno.EACCES, errno.EPERM)
        level = KvmLevel.REFUSED if refused else KvmLevel.MISSING
        return KvmVerdict(level, f"{_DEVICE}: {error.strerror}")
    try:
        version = fcntl.ioctl(descriptor, _GET_API_VERSION)
    except OSError as error:
        return KvmVerdict(KvmLevel.MISSING, f"{_DEVICE} does not answer: {error.strerror}")
    finally:
        os.close(descriptor)
    if version != _API_VERSION:
        return KvmVerdict(KvmLevel.MISSING, f"{_DEVICE} speaks version {version}")
    return KvmVerdict(KvmLevel.OPENS_ONLY, f"{_DEVICE} opens")


class _Trier(Struct, frozen=True):
    """A VMM to try guests with. ``elf`` says that it boots no compressed kernel."""

    title: str
    program: Path
    elf: bool

    def argv(
        self, kernel: Path, *, bare: bool = False
    ) -> contextlib.AbstractContextManager[tuple[str, ...]]:
        """The command that boots Linux as the VMM's driver would, or a ``bare`` guest."""
        if self.elf:
            return firecracker_argv(self.program, kernel)
        cpu, machine = (_BARE_CPU, "microvm") if bare else (CPU, MACHINE)
        return contextlib.nullcontext(qemu_argv("kvm", cpu, machine, kernel))


def _vmm_to_try(paths: Paths) -> _Trier | None:
    with contextlib.suppress(HostNotReady):
        return _Trier("QEMU", find_program("qemu-system-x86_64", "qemu-system-x86"), elf=False)
    with contextlib.suppress(BangerError):
        return _Trier("Firecracker", find_firecracker(paths.firecracker).path, elf=True)
    return None


def _patience() -> float:
    """The factor of all limits on this CPU."""
    try:
        words = _CPUINFO.read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return 1.0
    return 1.0 if _CAPABLE.isdisjoint(words) else _PATIENCE


def _try_guests(vmm: _Trier, kernel: Path | None) -> KvmVerdict:
    patience = _patience()
    bare = tiny_guest(f"{_GREETING}\n".encode())
    with in_memory("banger-kvm", bare) as guest, vmm.argv(guest, bare=True) as argv:
        first = run_bare_trial(argv, _GREETING, BARE_TIMEOUT * patience)
    if not first.passed:
        failed = f"{_DEVICE} opens, but not even a bare guest runs: {_why(vmm, first)}"
        return KvmVerdict(KvmLevel.OPENS_ONLY, failed, first.seconds, _detail(first))
    ran = f"a bare guest ran in {first.seconds:.2f} s"
    if kernel is None or (vmm.elf and not _is_elf(kernel)):
        untried = f"{ran}; there is no kernel yet to try Linux with"
        return KvmVerdict(KvmLevel.BARE_ELF, untried, first.seconds)
    with vmm.argv(kernel) as argv:
        second = run_trial(argv, _LINUX_LIVES, LINUX_TIMEOUT * patience)
    seconds = first.seconds + second.seconds
    if not second.passed:
        failed = f"{ran}, but {kernel.name} did not boot: {_why(vmm, second)}"
        return KvmVerdict(KvmLevel.BARE_ELF, failed, seconds, _detail(second))
    booted = f"{kernel.name} booted in {second.seconds:.1f} s"
    return KvmVerdict(KvmLevel.LINUX, booted, seconds)


def _is_elf(kernel: Path) -> bool:
    with contextlib.suppress(OSError), kernel.open("rb") as file:
        return file.read(4) == b"\x7fELF"
    return False


def _why(vmm: _Trier, trial: Trial) -> str:
    ended = f"{vmm.title} ended" if trial.ended else f"no sign of life in {trial.seconds:.0f} s"
    words = trial.last_words()
    return f"{ended} ({words})" if words else ended


def _detail(trial: Trial) -> str:
    return f"{trial.messages}\n{trial.console}".strip()


def _key(program: Path, kernel: Path | None) -> str:
    parts = [str(_VERSION), process.boot_id()]
    for path in (program, kernel):
        status = path.stat() if path is not None else None
        parts.append(f"{path} {status.st_size} {status.st_mtime_ns}" if status else "-")
    return "\n".join(parts)


def _recall(file: Path) -> dict[str, KvmVerdict]:
    try:
        stored = json.loads(file.read_bytes())
        verdicts = {
            str(key): KvmVerdict(**{**value, "level": KvmLevel(value["level"])})
            for key, value in stored.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}  # a cache: what cannot be read is found out again
    boot = process.boot_id()
    return {key: verdict for key, verdict in verdicts.items() if boot in key}


def _remember(paths: Paths, verdicts: dict[str, KvmVerdict]) -> None:
    # Without the cache all still works, only more slowly.
    with contextlib.suppress(BangerError, OSError):
        files.make_private_folder(paths.kvm_verdict.parent)
        stored = {key: structs.asdict(verdict) for key, verdict in verdicts.items()}
        files.write_atomic(paths.kvm_verdict, json.dumps(stored, indent=1))
