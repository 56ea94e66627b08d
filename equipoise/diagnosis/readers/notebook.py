"""Reader of what the cells of a Jupyter notebook printed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
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
            results = data if isinstance(data, dict) else {}
            table = "".join(_table_lines(_join(results.get("text/html"))))
            for lines in (_join(output.get("text")), table or _join(results.get("text/plain"))):
                if lines:
                    yield lines if lines.endswith("\n") else f"{lines}\n"


def _join(text: object) -> str:
    return "".join(map(str, text)) if isinstance(text, list) else text if isinstance(text, str) else ""


def _table_lines(html: str) -> Iterator[str]:
    """Yield the rows of tables in HTML, as fastai, pandas and the Trainer of Hugging Face show them: "epoch: 3, …"."""
    if "<td" not in html:
        return
    parser = _TableParser()
    parser.feed(html)
    header: list[str] = []
    for cells, is_header in parser.rows:
        if is_header and len(cells) > 1 and not any(map(_is_number, cells)):
            header = cells
        elif len(cells) == len(header):
            pairs = (f"{name}: {cell}" for name, cell in zip(header, cells, strict=True) if name and _is_number(cell))
            yield f"{', '.join(pairs)}\n"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


class _TableParser(HTMLParser):
    """Collects the rows of tables: the text of their cells, and whether all are header cells or in the header."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[list[str], bool]] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Begin a row or a cell."""
        if tag == "tr":
            self.rows.append(([], True))
        elif tag in ("td", "th") and self.rows:
            cells, is_header = self.rows[-1]
            self.rows[-1] = ([*cells, ""], is_header and tag == "th")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        """End a cell."""
        self._in_cell = self._in_cell and tag not in ("td", "th", "tr", "table")

    def handle_data(self, data: str) -> None:
        """Add text to a cell."""
        if self._in_cell:
            self.rows[-1][0][-1] += data.strip()


def _items(parent: object, key: str) -> Iterator[Mapping[str, object]]:
    items = parent.get(key) if isinstance(parent, dict) else None
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            yield cast("Mapping[str, object]", item)
