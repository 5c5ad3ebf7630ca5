"""``mapdns``: sets, removes, lists and serves the names below ``.vm``."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from banger.errors import BangerError, InvalidInput
from banger.mapdns.records import Records
from banger.paths import Paths

#: 128 + SIGINT and 128 + SIGPIPE, what a shell reports for a program ended by them.
_INTERRUPTED = 130
_PIPE_CLOSED = 141


class _UsageMistake(InvalidInput):
    """The command line itself is wrong."""

    code = "usage"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageMistake(
            message,
            cause=" ".join(self.format_usage().split()),
            resolution=f"{self.prog} --help",
        )


def main(argv: Sequence[str] | None = None) -> int:
    """The ``mapdns`` command; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _run(parser().parse_args(arguments))
        finally:
            sys.stdout.flush()
    except BangerError as error:
        _show(error, as_json="--json" in arguments)
        return error.exit_status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; what is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _PIPE_CLOSED


def parser() -> argparse.ArgumentParser:
    """What the command line may be."""
    whole = _Parser(
        prog="mapdns",
        description="Names below .vm and the addresses they lead to.",
        epilog="Records lie in mapdns/records.json below $XDG_DATA_HOME (~/.local/share).",
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    output = _Parser(add_help=False)
    output.add_argument("--json", action="store_true", help="print JSON")
    setting = commands.add_parser("set", parents=[output], help="let a name lead to addresses")
    setting.add_argument("name", metavar="NAME", help="web or web.vm")
    setting.add_argument("addresses", metavar="IP", nargs="+", help="IPv4 or IPv6 address")
    removing = commands.add_parser("rm", parents=[output], help="forget a name")
    removing.add_argument("name", metavar="NAME")
    commands.add_parser("list", parents=[output], help="show all names")
    serving = commands.add_parser("serve", help="answer DNS questions until told to end")
    serving.add_argument("--address", default="", help="where to listen (default: 127.0.0.153)")
    serving.add_argument(
        "--port", type=_port, help="UDP and TCP port (default: 53 for root, else 5353; 0: any)"
    )
    return whole


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    paths = Paths.from_environment(os.environ, os.geteuid())
    records = Records(paths.dns_records)
    match options.command:
        case "set":
            name = records.set(options.name, options.addresses)
            addresses = records.read()[name].addresses
            _say(options, {"name": name, "addresses": list(addresses)}, name)
        case "rm":
            name = records.remove(options.name)
            _say(options, {"name": name}, name)
        case "list":
            _list(records, as_json=options.json)
        case "serve":
            return asyncio.run(_serve(records, options.address, options.port))
    return 0


def _list(records: Records, *, as_json: bool) -> None:
    table = sorted(records.read().items())
    if as_json:
        data = [
            {"name": name, "addresses": list(record.addresses), "owner": record.owner}
            for name, record in table
        ]
        sys.stdout.write(json.dumps({"records": data}) + "\n")
        return
    width = max((len(name) for name, _ in table), default=0)
    for name, record in table:
        sys.stdout.write(f"{name:{width}}  {' '.join(record.addresses)}\n")


async def _serve(records: Records, address: str, port: int | None) -> int:
    from banger.mapdns.server import ADDRESS, HIGH_PORT, PORT, Answers, Server

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    default = PORT if os.geteuid() == 0 else HIGH_PORT
    server = Server(Answers(records), address or ADDRESS, default if port is None else port)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await server.start()
    sys.stdout.write(f"serving .vm on {server.address} port {server.port}\n")
    sys.stdout.flush()
    await stopping.wait()
    await server.close()
    return 0


def _say(options: argparse.Namespace, data: dict[str, object], line: str) -> None:
    sys.stdout.write((json.dumps(data) if options.json else line) + "\n")


def _show(error: BangerError, *, as_json: bool) -> None:
    if as_json:
        body = {"error": {**error.as_dict(), "exit_status": error.exit_status}}
        lines = [json.dumps(body)]
    else:
        lines = [f"error: {error.brief}"]
        lines += [f"  cause: {error.cause}"] if error.cause else []
        lines += [f"  try:   {error.resolution}"] if error.resolution else []
    for line in lines:
        sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
