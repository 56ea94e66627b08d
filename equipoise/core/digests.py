"""Files that are used only if their content is the published one."""

import hashlib
from pathlib import Path

from equipoise.errors import DataError


def check_digest(file: Path, digest: str, remedy: str) -> bytes:
    """Return the content of a file. Raises DataError, ending with `remedy`, if unreadable or of another digest.

    `digest`: its SHA-256, or the first digits if no more were published.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the weights {file}: {error.strerror}; {remedy}") from error
    actual = hashlib.sha256(content).hexdigest()
    if not actual.startswith(digest):
        raise DataError(f"{file} is not the published file: its SHA-256 is {actual[:8]}…, not {digest[:8]}…; {remedy}")
    return content


def read_shipped(file: Path, digest: str) -> bytes:
    """Return the content of a file of the package. Raises DataError if unreadable or if its SHA-256 is another one."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}; reinstall equipoise") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataError(f"{file} is damaged: its SHA-256 is not the published one; reinstall equipoise")
    return content
