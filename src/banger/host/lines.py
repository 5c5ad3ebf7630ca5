"""Cuts a program's output into lines as it comes."""

from __future__ import annotations

import codecs


class LineSplitter:
    """Cuts a byte stream into text lines at newlines and carriage returns (progress meters)."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    def feed(self, data: bytes) -> list[str]:
        """The lines that ``data`` completes; empty ones are dropped."""
        text = self._rest + self._decoder.decode(data)
        *whole, self._rest = text.replace("\r", "\n").split("\n")
        return [line for line in whole if line]

    def end(self) -> list[str]:
        """What is left when the stream has ended."""
        text = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        return [text] if text else []
