"""Reader of what the cells of a Jupyter notebook printed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from equipoise.diagnosis.logs.log_columns import LogColumns
from equipoise.diagnosis.logs.log_file import LogFile
from equipoise.diagnosis.readers.text import LogLines
from equipoise.errors import DataError

__all__ = ["Notebook"]


class Notebook:
    """Reads the text that the cells printed, in the order of the cells; nothing is executed."""

    name = "Jupyter notebook"
    contents = "`.ipynb`: the lines that its cells printed, as text lines"
    order = 15
    folder_files: tuple[str, ...] = ()

    def read(self, files: Sequence[LogFile]) -> LogColumns | None:
        """Read one notebook; None if the file is none. Raises DataError if its cells printed no rows of numbers."""
        file = files[0]
        if not file.head_bytes.lstrip().startswith(b"{") or not _mentions_cells(file):
            return None
        try:
            notebook = json.loads(file.text)
        except (ValueError, RecursionError) as error:
            raise DataError("the notebook is damaged: it is not JSON; save it again, or copy its output") from error
        text = "".join(_printed(notebook))
        result = LogLines().read([LogFile(file.path, text.encode())])
        if result is None:
            raise DataError("the cells of the notebook printed no lines with losses; run it, and save it with output")
        return result


def _mentions_cells(file: LogFile) -> bool:
    if file.path.suffix == ".ipynb":
        return True
    return '"cells"' in file.head and ('"cell_type"' in file.head or '"nbformat"' in file.head)


def _printed(notebook: object) -> Iterator[str]:
    """Yield what the cells printed, and the text of their results, each ending with a line break."""
    cells = list(_items(notebook, "cells"))
    for sheet in _items(notebook, "worksheets"):  # notebooks of format 3
        cells += _items(sheet, "cells")
    for cell in cells:
        for output in _items(cell, "outputs"):
            data = output.get("data")
            for text in (output.get("text"), data.get("text/plain") if isinstance(data, dict) else None):
                lines = "".join(map(str, text)) if isinstance(text, list) else text if isinstance(text, str) else ""
                if lines:
                    yield lines if lines.endswith("\n") else f"{lines}\n"


def _items(parent: object, key: str) -> Iterator[Mapping[str, object]]:
    items = parent.get(key) if isinstance(parent, dict) else None
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            yield cast("Mapping[str, object]", item)
