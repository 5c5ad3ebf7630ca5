"""The commands of ``banger``: everyday verbs, nouns, and the host's own."""

from __future__ import annotations

from typing import Any

import click

from banger.cli.lazy import Entry, LazyGroup

VM = [
    Entry("create", "banger.cli.vm_create:create", "Create a VM without starting it."),
    Entry("list", "banger.cli.vm_list:list_vms", "List VMs.", aliases=("ls", "ps")),
    Entry("show", "banger.cli.vm_show:show", "Show everything about a VM.", aliases=("inspect",)),
    Entry("start", "banger.cli.vm_power:start", "Start VMs."),
    Entry("stop", "banger.cli.vm_power:stop", "Stop VMs: ask the guest, then kill."),
    Entry("restart", "banger.cli.vm_power:restart", "Stop and start VMs."),
    Entry("kill", "banger.cli.vm_power:kill", "End VMs at once, as pulling the plug."),
    Entry("pause", "banger.cli.vm_power:pause", "Halt the virtual CPUs of VMs."),
    Entry("resume", "banger.cli.vm_power:resume", "Let paused VMs go on."),
    Entry("stats", "banger.cli.vm_stats:stats", "Show what running VMs use, live."),
    Entry("wait", "banger.cli.vm_wait:wait", "Wait until VMs answer or have stopped."),
    Entry("rename", "banger.cli.vm_change:rename", "Give a stopped VM another name."),
    Entry("set", "banger.cli.vm_set:set_vm", "Change memory, CPUs and disks of VMs."),
    Entry("clone", "banger.cli.vm_remake:clone", "Copy a stopped VM with its disks."),
    Entry("rebuild", "banger.cli.vm_remake:rebuild", "Give VMs a new root file system."),
    Entry("forward", "banger.cli.root:forward", "Publish ports of a VM on the host."),
    Entry("delete", "banger.cli.vm_change:delete", "Delete VMs and their disks.", aliases=("rm",)),
    Entry("ssh", "banger.cli.ssh:ssh", "Open a shell in a VM."),
    Entry("exec", "banger.cli.exec:exec_command", "Run a command in a VM."),
    Entry("cp", "banger.cli.copy:copy", "Copy files into and out of a VM."),
    Entry("logs", "banger.cli.logs:logs", "Show the serial console's log."),
    Entry("console", "banger.cli.console:console", "Attach to the serial console."),
]
FORWARD = [
    Entry("add", "banger.cli.forward:add", "Publish ports of a VM."),
    Entry("list", "banger.cli.forward:list_forwards", "List published ports.", aliases=("ls",)),
    Entry("rm", "banger.cli.forward:remove", "Take ports back.", aliases=("delete", "remove")),
]
IMAGE = [
    Entry("build", "banger.cli.image:build", "Build an image from the Debian archive."),
    Entry("list", "banger.cli.image:list_images", "List images.", aliases=("ls",)),
    Entry("show", "banger.cli.image:show", "Show an image.", aliases=("inspect",)),
    Entry("customize", "banger.cli.image_customize:customize", "Make a changed copy of an image."),
    Entry("register", "banger.cli.image_register:register", "Make an image of your own files."),
    Entry("interactive", "banger.cli.image_interactive:interactive", "Change a copy by hand."),
    Entry("keep", "banger.cli.image_interactive:keep", "Make an image of a stopped VM."),
    Entry("import", "banger.cli.image_import:import_image", "Make an image of an archive."),
    Entry("export", "banger.cli.image_export:export", "Write an image into one file."),
    Entry("rename", "banger.cli.image_change:rename", "Give an image another name."),
    Entry("prune", "banger.cli.image_change:prune", "Delete images that nobody uses."),
    Entry("delete", "banger.cli.image:delete", "Delete images.", aliases=("rm",)),
]
NAT = [
    Entry("up", "banger.cli.nat:up", "Let VMs reach the internet."),
    Entry("down", "banger.cli.nat:down", "Keep VMs from the internet again."),
    Entry("status", "banger.cli.nat:status", "Show which VMs reach it.", aliases=("ls",)),
]
DAEMON = [
    Entry("status", "banger.cli.daemon:status", "Show whether bangerd runs, and its drivers."),
    Entry("start", "banger.cli.daemon:start", "Start bangerd."),
    Entry("stop", "banger.cli.daemon:stop", "Stop bangerd; VMs go on running."),
    Entry("restart", "banger.cli.daemon:restart", "Replace bangerd; VMs go on running."),
    Entry("logs", "banger.cli.daemon:logs", "Show bangerd's log."),
    Entry("enable", "banger.cli.daemon_boot:enable", "Start bangerd when the host boots."),
    Entry("disable", "banger.cli.daemon_boot:disable", "Start bangerd only when needed."),
]
SYSTEM = [Entry("prune", "banger.cli.system:prune", "Remove what no VM owns any more.")]
OPERATION = [
    Entry("list", "banger.cli.operation:list_operations", "List operations.", aliases=("ls",)),
    Entry("show", "banger.cli.operation:show", "Show an operation.", aliases=("inspect",)),
    Entry("wait", "banger.cli.operation:wait", "Follow an operation until it ends."),
    Entry("cancel", "banger.cli.operation:cancel", "Cancel an operation and undo it."),
]

_DAY = "Everyday"
_NOUNS = "Everything, by noun"
_HOST = "Host"


def _everyday(name: str, **changes: Any) -> Entry:
    entry = next(entry for entry in VM if name in (entry.name, *entry.aliases))
    return entry._replace(name=name, section=_DAY, aliases=())._replace(**changes)


ROOT = [
    Entry("run", "banger.cli.vm_run:run", "Create and start a VM, and wait for it.", _DAY),
    _everyday("ls", aliases=("ps",)),
    *(_everyday(name) for name in ("show", "stats", "ssh", "exec", "cp", "logs", "console")),
    *(_everyday(name) for name in ("create", "start", "stop", "restart", "kill", "wait", "rename")),
    _everyday("rm"),
    Entry("vm", "banger.cli.root:vm", "VMs, with all their commands.", _NOUNS),
    Entry("image", "banger.cli.root:image", "Images that VMs are made from.", _NOUNS),
    Entry("nat", "banger.cli.root:nat", "Internet for VMs, on request.", _NOUNS),
    Entry("operation", "banger.cli.root:operation", "Work that the daemon does.", _NOUNS, ("op",)),
    Entry("daemon", "banger.cli.root:daemon", "The background process.", _NOUNS),
    Entry("events", "banger.cli.events:events", "Follow what happens.", _NOUNS),
    Entry("ssh-config", "banger.cli.ssh_config:ssh_config", "VMs for plain ssh, scp.", _NOUNS),
    Entry("doctor", "banger.cli.doctor:doctor", "Check this machine, with a cure each.", _HOST),
    Entry("system", "banger.cli.root:system", "What banger has on this machine.", _HOST),
    Entry("setup", "banger.cli.setup:setup", "Give a user the root side.", _HOST),
    Entry("tui", "banger.tui.command:tui", "Show everything on the whole terminal, live.", _DAY),
    Entry("version", "banger.cli.about:version", "Show the version.", _HOST),
    Entry("completion", "banger.cli.completion:completion", "Print shell completion.", _HOST),
    Entry("help", "banger.cli.about:help_command", "Help for commands and topics.", _HOST),
]


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not ctx.resilient_parsing:
        from banger import __version__

        click.echo(f"banger {__version__}")
        ctx.exit()


root = LazyGroup(
    "banger",
    entries=ROOT,
    help="Real virtual machines the way Docker gives containers.",
    examples=("banger run --name web", "banger ssh web"),
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Show the version.",
        )
    ],
    subcommand_metavar="COMMAND ...",
    epilog="More: banger COMMAND --help, banger help exit-codes.",
)

vm = LazyGroup(
    "vm",
    entries=VM,
    help="VMs: create, use, delete.",
    examples=("banger vm list", "banger vm stop web db"),
)
forward = LazyGroup(
    "forward",
    entries=FORWARD,
    help="Ports of VMs that are published on the host: kept until they are taken back.",
    examples=(
        "banger vm forward web 8080:80",
        "banger vm forward list",
        "banger vm forward rm web 8080",
    ),
    fallback="add",
)
image = LazyGroup(
    "image",
    entries=IMAGE,
    help="Images that VMs are made from.",
    examples=("banger image build", "banger image list"),
)
nat = LazyGroup(
    "nat",
    entries=NAT,
    help="Internet for VMs: off until it is asked for, and kept across stop and start.",
    examples=("banger nat up web", "banger nat status"),
)
daemon = LazyGroup(
    "daemon",
    entries=DAEMON,
    help="bangerd, the background process; commands start it when they need it.",
    examples=("banger daemon status", "banger daemon logs -f"),
)
operation = LazyGroup(
    "operation",
    entries=OPERATION,
    help="Work that the daemon does: creations, starts, image builds.",
    examples=("banger operation list", "banger operation wait 7f3c"),
)
system = LazyGroup(
    "system",
    entries=SYSTEM,
    help="What banger has on this machine beside VMs and images.",
    examples=("banger system prune --dry-run",),
)
