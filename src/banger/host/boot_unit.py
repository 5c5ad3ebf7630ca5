"""The systemd unit that starts bangerd when the host boots: its text, and where it lies.

A unit is enabled by a link in the folder of a target (systemd.unit(5)), which needs no running
systemd and no program. An ordinary user's unit is started at boot where that user *lingers*
(loginctl(1)), else at login; root's is one of the system.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from banger.errors import HostNotReady
from banger.host.files import explained, write_atomic

NAME = "bangerd.service"
#: There exactly while systemd is the init system (sd_booted(3)).
BOOTED = Path("/run/systemd/system")
SYSTEM_UNITS = Path("/etc/systemd/system")
#: One empty file for each lingering user, named after the user (systemd-logind).
LINGERING = Path("/var/lib/systemd/linger")
_KEPT = ("HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
_RUNTIME = "XDG_RUNTIME_DIR"


@dataclass(frozen=True, slots=True)
class BootUnit:
    """The unit file, and the link that enables it."""

    path: Path
    link: Path
    text: str

    @property
    def enabled(self) -> bool:
        """Whether just this unit starts at boot."""
        try:
            return self.link.resolve() == self.path.resolve() and self.path.read_text() == self.text
        except OSError:
            return False


def boot_unit(argv: Sequence[str], environ: Mapping[str, str], log: Path, uid: int) -> BootUnit:
    """The unit that runs ``argv`` as the user whose environment this is (pure)."""
    if uid == 0:
        folder, target = SYSTEM_UNITS, "multi-user.target"
    else:
        config = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '')}/.config"
        folder, target = Path(config) / "systemd/user", "default.target"
    kept = [name for name in (*_KEPT, _RUNTIME) if environ.get(name)]
    kept += sorted(name for name in environ if name.startswith("BANGER_"))
    lines = [
        "[Unit]",
        "Description=banger's daemon: virtual machines of one user",
        "",
        "[Service]",
        f"ExecStart={' '.join(map(_argument, argv))}",
        *(f"Environment={_quoted(f'{name}={environ[name]}')}" for name in kept),
        f"StandardOutput=append:{_escaped(str(log))}",
        "StandardError=inherit",
        "# VMs belong to nobody: they go on when the daemon is stopped or replaced.",
        "KillMode=process",
        "",
        "[Install]",
        f"WantedBy={target}",
        "",
    ]
    path = folder / NAME
    return BootUnit(path, folder / f"{target}.wants" / NAME, "\n".join(lines))


def enable(unit: BootUnit, booted: Path = BOOTED) -> bool:
    """Write the unit and its link; False if that is so already.

    Raises ``HostNotReady`` where systemd is not the init system, and what writing may raise.
    """
    if not booted.is_dir():
        raise HostNotReady(
            "bangerd cannot be started at boot by banger",
            cause=f"systemd is not this machine's init system: there is no {booted}",
            resolution="have your init system run: banger daemon start",
        )
    if unit.enabled:
        return False
    with explained(f"enable {unit.path}"):
        unit.link.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(unit.path, unit.text, mode=0o644)
        unit.link.unlink(missing_ok=True)
        unit.link.symlink_to(unit.path)
    return True


def disable(unit: BootUnit) -> bool:
    """Remove the link and the unit; False if there is none."""
    there = unit.link.is_symlink() or unit.path.exists()
    with explained(f"disable {unit.path}"):
        unit.link.unlink(missing_ok=True)
        unit.path.unlink(missing_ok=True)
    return there


def waits_for_login(user: str, environ: Mapping[str, str], uid: int) -> bool:
    """Whether the unit is started, or its runtime folder made, only when ``user`` logs in."""
    of_a_session = environ.get(_RUNTIME, "").startswith("/run/user/")
    return (uid != 0 or of_a_session) and not (LINGERING / user).exists()


def _escaped(text: str) -> str:
    """``%`` begins a specifier in a unit (systemd.unit(5))."""
    return text.replace("%", "%%")


def _argument(text: str) -> str:
    """One word of a command line, in which ``$`` begins a variable (systemd.service(5))."""
    return _quoted(text).replace("$", "$$")


def _quoted(text: str) -> str:
    r"""One word of a unit: in double quotes, with ``\``, ``"`` and ``%`` as themselves."""
    inside = _escaped(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inside}"'
