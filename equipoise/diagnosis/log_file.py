"""A file or stream that may be a log: its first megabyte, its text in blocks of whole lines, and what was wrong with it.

Readers never hold a whole text log in memory: they decide by `head`, then go through `text_blocks`.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

HEAD_BYTES = 2**20
"""Number of decompressed bytes by which readers recognise a format."""


class LogFile:
    """A file that may be a log, decompressed and decoded.

    `path` names it in messages and finds the files next to it. `problems`: full sentences on what could not be read,
    such as a truncated .gz file; complete once everything has been read.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        self.path = path
        self.problems: list[str] = []
        self._content = content

    @property
    def content(self) -> bytes:
        """All decompressed bytes, for binary formats."""
        return self._content

    @cached_property
    def head(self) -> str:
        """The text of the first HEAD_BYTES, up to the last whole line."""
        return next(self.text_blocks(), "")

    def text_blocks(self) -> Iterator[str]:
        """Yield the text in blocks of whole lines that end in "\\n"; a complete last line may lack it.

        UTF-8 or UTF-16; undecodable bytes are replaced; "\\r\\n" and a lone "\\r" become "\\n".
        """
        yield self.text

    @cached_property
    def text(self) -> str:
        """The content as text, UTF-8 or UTF-16, with undecodable bytes replaced and without a truncated last line."""
        is_wide = self.content[:2] in (b"\xff\xfe", b"\xfe\xff")
        text = self.content.decode("utf-16" if is_wide else "utf-8", errors="replace")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        return text[: text.rfind("\n") + 1] or text
