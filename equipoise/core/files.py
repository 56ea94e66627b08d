"""Finding data files in a folder, and the kinds of files by their extensions.

Hidden files, the files of run folders, and those that systems and programs leave behind are excluded.
"""

import os
import tokenize
from collections.abc import Iterator, Mapping

IMAGE_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of image files. Formats whose signature is shorter, and may be chance, are recognised by extension."""
NPY_START = b"\x93NUMPY"
"""First bytes of a .npy file."""
ARRAY_ERRORS = (
    *(OSError, ValueError, EOFError, TypeError, KeyError, IndexError, OverflowError, MemoryError, RecursionError),
    *(SyntaxError, tokenize.TokenError),
)
"""What numpy raises for a damaged .npy file: its header is an expression, which numpy parses."""
START_BYTES = 16
"""Number of bytes that show whether a file is an image."""
RUN_FILES = {"experiment.json", "events.jsonl"}
"""Files of a run folder: images in it are samples, not data."""
JUNK_FOLDERS = frozenset(
    {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__"}
)
"""Folders of macOS, Synology, Windows, Linux and Python, in lower case: previews and deleted files, not data."""
JUNK_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})

IMAGE_ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jp2", ".j2k", ".jpx"),
    *(".pgm", ".ppm", ".pnm", ".pbm", ".heic", ".heif", ".hif", ".avif"),
)
ARRAY_ENDINGS = (".npy", ".npz")
PARQUET_ENDINGS = (".parquet",)
ZIP_ENDINGS = (".zip",)
COMPRESSED_TAR_ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
TAR_ENDINGS = (".tar", *COMPRESSED_TAR_ENDINGS)
ARCHIVE_ENDINGS = (*ZIP_ENDINGS, *TAR_ENDINGS)
TABLE_ENDINGS = (".csv", ".tsv")
SOUND_ENDINGS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
TEXT_ENDINGS = (".txt",)
TEXT_TABLE_ENDINGS = (".txt", ".dat", ".asc", ".tab", ".data")
"""Text files that may be tables of numbers; they are read as such if a folder has no other data."""
REMEDIES: Mapping[str, str] = {
    **dict.fromkeys(
        (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".wmv", ".mpg", ".mpeg"), "video: extract frames"
    ),
    **dict.fromkeys((".svg", ".eps", ".ai", ".pdf"), "drawing: export as PNG"),
    **dict.fromkeys(
        (".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"), "raw photograph: convert to TIFF"
    ),
    **dict.fromkeys((".psd", ".xcf", ".exr", ".hdr", ".tga", ".dcm", ".nii", ".jxl", ".ico"), "convert to PNG or TIFF"),
    **dict.fromkeys((".rar", ".7z", ".zst", ".gz", ".bz2", ".xz", ".lz4", ".001"), "unpack it"),
    **dict.fromkeys(
        (".h5", ".hdf5", ".mat", ".pkl", ".pt", ".pth", ".arrow", ".tfrecord"), "save images as .npy or PNG"
    ),
}
"""Extensions of files that cannot be read as they are, and what to do with them."""
MAX_PREVIEWS = 10
"""Number of images next to archives or Parquet files up to which they count as previews of these."""


def is_text_table(name: str) -> bool:
    """Return whether a file may be a table of numbers although its extension does not say so."""
    return ending(name) in TEXT_TABLE_ENDINGS


def find_files(folder: str, *, junk: bool = False, broken: bool = False) -> "Iterator[tuple[str, os.DirEntry[str]]]":
    """Yield (path relative to the folder, with slashes, and entry) of each file, sorted by name, subfolders included.

    `junk`: whether to include what systems leave behind, except hidden files. `broken`: whether to include links that
    lead nowhere. Links are followed; each folder is visited once. Raises OSError for a folder that cannot be read.
    """
    for path, entry in _find(folder, "", set()):
        if (junk or not is_junk(path)) and (broken or entry.is_file()):
            yield path, entry


def is_junk(path: str) -> bool:
    """Return whether a path, with slashes, is hidden or left behind by a system: .DS_Store, __MACOSX/a.png."""
    *folders, name = path.split("/")
    is_hidden = any(part.startswith(".") for part in (*folders, name))
    return is_hidden or name.lower() in JUNK_FILES or any(part.lower() in JUNK_FOLDERS for part in folders)


def is_image_start(start: bytes) -> bool:
    """Return whether a file that starts with these bytes, at least 12, is an image, whatever its name is."""
    return start.startswith(IMAGE_STARTS) or (start.startswith(b"RIFF") and start[8:12] == b"WEBP")


def ending(path: str) -> str:
    """Return the extension of a path in lower case, with its dot: ".png", ".tar.gz"; "" if it has none."""
    name = path.rpartition("/")[2].lower()
    double = next((double for double in COMPRESSED_TAR_ENDINGS if name.endswith(double)), None)
    return double or os.path.splitext(name)[1]


def _find(folder: str, path: str, visited: set[tuple[int, int]]) -> "Iterator[tuple[str, os.DirEntry[str]]]":
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in visited:
        return
    visited.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    if {entry.name for entry in visible} >= RUN_FILES:
        return
    for entry in visible:
        if entry.is_dir():
            yield from _find(entry.path, f"{path}{entry.name}/", visited)
        elif entry.is_file() or entry.is_symlink():
            yield f"{path}{entry.name}", entry
