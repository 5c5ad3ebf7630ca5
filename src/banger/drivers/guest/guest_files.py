"""Reads the files that are copied into guests as they stand (the folder ``guest_files``)."""

from __future__ import annotations

from importlib.resources import files


def guest_file(name: str) -> bytes:
    """The content of one file of the folder ``guest_files``."""
    return files("banger").joinpath("guest_files", name).read_bytes()
