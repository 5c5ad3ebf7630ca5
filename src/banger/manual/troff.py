"""Writes the man macros of troff, whatever characters a text has (man(7), pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: What the first line of each page says, so that our own are known again.
MARK = '.\\" Made by banger from its commands.'


def escape(text: str) -> str:
    """The text as it is: no character means anything to troff."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    text = text.replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    return f"\\&{text}" if text.startswith(".") else text


def bold(text: str) -> str:
    return f"\\fB{escape(text)}\\fR"


def italic(text: str) -> str:
    return f"\\fI{escape(text)}\\fR"


def line(text: str) -> str:
    """One line of escaped text that cannot be taken for a macro."""
    return f"\\&{text}" if text.startswith((".", "'")) else text


class Page:
    """The source of one page, grown from its top to its end."""

    def __init__(self, name: str, section: int, sentence: str, source: str) -> None:
        self.name, self.section = name, section
        title = f'"{name.upper().replace("-", chr(92) + "-")}" "{section}"'
        self._lines = [
            MARK,
            f'.TH {title} "" "{escape(source)}" "banger manual"',
            ".SH NAME",
            f"{escape(name)} \\- {escape(sentence)}",
        ]

    @property
    def text(self) -> str:
        return "\n".join(self._lines) + "\n"

    def heading(self, title: str) -> None:
        self._lines.append(f'.SH "{escape(title.upper())}"')

    def paragraphs(self, text: str) -> None:
        """Paragraphs separated by empty lines, filled anew."""
        for number, paragraph in enumerate(p for p in text.split("\n\n") if p.strip()):
            if number:
                self._lines.append(".PP")
            self._lines.append(line(escape(" ".join(paragraph.split()))))

    def synopsis(self, pieces: Iterable[Sequence[str]]) -> None:
        """One line for each: the command's words, then what follows them."""
        for number, (words, rest) in enumerate(pieces):
            if number:
                self._lines.append(".br")
            self._lines.append(f"{bold(words)} {escape(rest)}".rstrip())

    def terms(self, rows: Iterable[tuple[str, str]]) -> None:
        """Tagged paragraphs; the terms are escaped already, the texts are not."""
        for term, text in rows:
            self._lines += [".TP", line(term), line(escape(" ".join(text.split())))]

    def literal(self, lines: Iterable[str], *, indent: int = 4) -> None:
        """Lines as they are, in a fixed font, ``indent`` characters further in."""
        body = [line(escape(each.rstrip())) or "\\&" for each in lines]
        self._lines += [".PP", f".RS {indent}", ".EX", *body, ".EE", ".RE"]

    def references(self, names: Sequence[tuple[str, int]]) -> None:
        self.heading("See also")
        self._lines.append(",\n".join(f"{bold(name)}({number})" for name, number in names))


def redirection(name: str, section: int) -> str:
    """A page that is another one under a further name."""
    return f"{MARK}\n.so man{section}/{name}.{section}\n"
