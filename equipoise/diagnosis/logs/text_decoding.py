"""Bytes of a log -> text: recognition of binary files, encodings, NUL bytes, line ends, terminal control sequences."""

import codecs
import re
from dataclasses import dataclass

BINARY_FORMATS = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a .zip archive, such as a checkpoint of PyTorch"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3", "an SQLite database"),
    (b"BZh", "a .bz2 archive"),
    (b"\xfd7zXZ", "a .xz archive"),
    (b"\x28\xb5\x2f\xfd", "a .zst archive"),
    (b"\x80\x02", "a pickle, such as a checkpoint"),
    (b"\x80\x03", "a pickle, such as a checkpoint"),
    (b"\x80\x04", "a pickle, such as a checkpoint"),
    (b"\x80\x05", "a pickle, such as a checkpoint"),
)
"""First bytes of files that are often next to logs, and what they are."""
CONTROL_BYTES = bytes(byte for byte in range(1, 32) if byte not in b"\a\b\t\n\v\f\r\x1b")
"""Bytes that texts do not contain; of terminal output, only those that move the cursor."""
MAX_CONTROL_SHARE = 0.02
"""Largest share of control bytes in a text: in random bytes it is 0.09, in a log with a damaged block far less."""
MAX_NUL_SHARE = 0.5
"""Largest share of NUL bytes in a text. A power failure leaves blocks of them at the end; UTF-16 has less than half."""
WIDE_NUL_SHARE = 0.4
"""Share of NUL bytes, all at even or all at odd places, above which a text is UTF-16 without a byte order mark."""
FIRST_BYTES = 256
"""Bytes that have to be UTF-16 too: a log in UTF-8 may continue in UTF-16, as PowerShell appends."""
_TERMINAL = re.compile(
    r"\x1b\[[0-?]*[ -/]*([@-~])"  # colours ("m"), movements of the cursor ("A", "G", …)
    r"|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # title of the window
    r"|\x1b[ -/]*[0-~]"
    r"|\x08+"
)
_LINE_MOVES = frozenset("ABEFGHf")
_WINDOWS_NUMBERS = re.compile(r"\b1\.#(?:(INF)|[QS]NAN|IND)0*|\bnan\((?:s?nan|ind)\)")
"""How C libraries of Windows print numbers that are not finite."""


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """The encoding of a log: name of the codec, and the bytes of its byte order mark (0 to 3)."""

    codec: str
    mark: int = 0


def describe_binary(head: bytes) -> str | None:
    """Return what a file is, if its first bytes are not text; None for text, and for an empty file."""
    for first, description in BINARY_FORMATS:
        if head.startswith(first):
            return description
    if detect_encoding(head).codec != "utf-8":
        return None
    head = head.rstrip(b"\0") or head  # what precedes a hole may be a log
    nul = head.count(0)
    control = len(head) - nul - len(head.translate(None, CONTROL_BYTES + b"\0"))
    if nul > MAX_NUL_SHARE * len(head):
        return f"{100 * nul / len(head):.0f} % NUL bytes"
    if control > MAX_CONTROL_SHARE * len(head):
        return f"{100 * control / len(head):.0f} % control bytes"
    return None


def detect_encoding(head: bytes) -> TextEncoding:
    """Return the encoding by the byte order mark, or by the places of the NUL bytes; else UTF-8."""
    for mark, codec in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if head.startswith(mark):
            return TextEncoding(codec, len(mark))
    for start, codec in ((1, "utf-16-le"), (0, "utf-16-be")):
        is_wide = all(part[start::2].count(0) > WIDE_NUL_SHARE * len(part) for part in (head, head[:FIRST_BYTES]))
        if is_wide and 20 * head[1 - start :: 2].count(0) < head[start::2].count(0):
            return TextEncoding(codec)
    return TextEncoding("utf-8")


class TextDecoder:
    """Decodes the chunks of a log. `nul`, `undecodable`: number of characters that were removed or replaced."""

    def __init__(self, encoding: TextEncoding) -> None:
        self.nul = self.undecodable = 0
        self._decoder = codecs.getincrementaldecoder(encoding.codec)(errors="replace")
        self._skip = encoding.mark
        self._held = ""

    def decode(self, chunk: bytes, final: bool = False) -> str:
        """Decode a chunk; line ends become "\\n", control sequences of terminals and NUL characters are removed."""
        chunk, self._skip = chunk[self._skip :], max(0, self._skip - len(chunk))
        text = self._held + self._decoder.decode(chunk, final)
        self._held = ""
        if not text.isascii():
            self.undecodable += text.count("\ufffd")
            text = text.replace("\ufeff", "")
        if "\0" in text:
            self.nul += text.count("\0")
            text = text.replace("\0", "")
        if text.endswith("\r") and not final:  # perhaps the first half of "\r\n"
            text, self._held = text[:-1], "\r"
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return text


def clean_lines(text: str) -> str:
    """Remove terminal codes from whole lines, and write numbers that are not finite as "nan" and "inf"."""
    if ".#" in text or "nan(" in text:
        text = _WINDOWS_NUMBERS.sub(lambda match: "inf" if match[1] else "nan", text)
    return remove_terminal_codes(text)


def remove_terminal_codes(text: str) -> str:
    """Remove colours and backspaces; a movement of the cursor to another line or column ends the line."""
    if "\x1b" not in text and "\b" not in text:
        return text
    return _TERMINAL.sub(_replace_code, text)


def _replace_code(match: re.Match[str]) -> str:
    moves = match[1] in _LINE_MOVES if match[1] else match[0].startswith("\b\b")
    return "\n" if moves else ""
