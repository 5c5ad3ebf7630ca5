"""The texts of ``banger help TOPIC``."""

from __future__ import annotations

EXIT_CODES = """
Exit codes

    0  done
    1  failed: the VMM, a program or the guest; the message says which
    2  the command line is wrong: an option, a value, a missing name
    3  bangerd cannot be reached or started
    4  there is no such VM, image or operation
    5  the name is taken, or the state does not allow it
    6  not permitted, or the root side is missing
    7  something did not happen in time
    8  of several targets some failed; one message for each
    9  this machine lacks something: banger doctor
   10  stored state cannot be read
  130  interrupted by Ctrl-C
  141  the reader of the output went away

exec, ssh and run -- COMMAND pass on the exit status of the guest's command.
With them, 125 means that banger itself failed before the command ended;
126 and 127 come from the guest: not executable, not found. ssh gives 255
when the connection fails.
"""

NAMES = """
Names and ids

A VM is meant by its name, by its id, or by the beginning of its id (at least
four digits) if only one VM has it. Beginnings of names are never taken.

Names are 1 to 64 of a-z, 0-9 and '-', and do not start with '-'. Commands for
several VMs also take patterns in quotes ('web-*') and --all.
"""

OUTPUT = """
Output

Lists are tables on a terminal, cut to its width (--no-trunc: not cut).

  -q                 names only, one a line
  --json             all there is: snake_case keys, RFC 3339 times in UTC,
                     sizes in bytes (memory_mib in MiB)
  --format jsonl     one JSON object a line; also csv and table
  -c name,state      these fields;  --sort -memory: by a field, '-' descending
  --no-header        without the header line

Results go to stdout; progress, notes and errors to stderr. With --json an
error is {"error": {"code", "brief", "cause", "resolution", "details", ...}}.

Colour and moving lines appear on a terminal only, and not with --no-color,
NO_COLOR, BANGER_NO_COLOR or TERM=dumb.
"""

ENVIRONMENT = """
Environment

  XDG_RUNTIME_DIR    bangerd's socket is in its folder banger
  XDG_STATE_HOME     VMs, images and the database (~/.local/state)
  XDG_CONFIG_HOME    config.toml and packages.apt (~/.config)
  XDG_CACHE_HOME     downloaded packages (~/.cache)
  NO_COLOR           no colours; BANGER_NO_COLOR the same for banger alone
  COLUMNS            width of tables
"""

SIZES = """
Sizes and times

Sizes are a number with an optional unit: 512, 512M, 2G, 2GiB, 1.5G. Units are
powers of 1024; a number without a unit is MiB. Times are seconds, or have a
unit: 30, 500ms, 2m, 1h.
"""

TOPICS = {
    "exit-codes": EXIT_CODES,
    "names": NAMES,
    "output": OUTPUT,
    "environment": ENVIRONMENT,
    "sizes": SIZES,
}
