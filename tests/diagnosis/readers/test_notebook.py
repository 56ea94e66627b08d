"""Notebooks: what the cells printed is read as text, in the order of the cells."""

import json
from pathlib import Path

import pytest

from equipoise.diagnosis.logs.log_file import LogFile
from equipoise.diagnosis.readers.notebook import Notebook
from equipoise.errors import DataError


def notebook(*outputs: object, version: int = 4) -> LogFile:
    cells = [{"cell_type": "code", "source": ["loss: 1"], "outputs": [output]} for output in outputs]
    content = {"cells": cells} if version == 4 else {"worksheets": [{"cells": cells}]}
    return LogFile(Path("train.ipynb"), json.dumps({**content, "nbformat": version}).encode())


def stream(first: int, last: int) -> dict[str, object]:
    text = [f"Epoch {epoch}: d_loss 0.{epoch:03d}, g_loss 0.5\n" for epoch in range(first, last)]
    return {"output_type": "stream", "name": "stdout", "text": text}


@pytest.mark.parametrize("version", [3, 4])
def test_printed_lines_of_all_cells(version: int) -> None:
    result = {"output_type": "execute_result", "data": {"text/plain": "Epoch 9: d_loss 0.009, g_loss 0.5"}}
    log = Notebook().read(
        [notebook(stream(0, 5), {"output_type": "display_data"}, stream(5, 9), result, version=version)]
    )
    assert log is not None
    assert log.columns["Epoch"].values.tolist() == list(range(10))
    assert log.columns["d_loss"].values.tolist() == [epoch / 1000 for epoch in range(10)]


@pytest.mark.parametrize(
    "content",
    [
        b'{"cells": [{"cell_type": "code", "outp',
        b'{"cells": ' + b"[" * 10_000,
        b'{"cells": 5, "nbformat": 4}',
        b'{"cells": [{"cell_type": "markdown", "source": ["epoch 1 loss 0.5"]}]}',
    ],
)
def test_damaged_or_silent_notebooks_are_errors(content: bytes) -> None:
    with pytest.raises(DataError, match="notebook"):
        Notebook().read([LogFile(Path("train.ipynb"), content)])


def test_other_json_is_none() -> None:
    assert Notebook().read([LogFile(Path("x.json"), b'{"loss": [1, 2]}')]) is None
    assert Notebook().read([LogFile(Path("x.log"), b"loss 1\n")]) is None


def test_tables_in_html_are_read() -> None:
    rows = "".join(
        f"<tr>\n<td>{epoch}</td><td>None</td><td>{epoch / 100}</td><td>00:12</td></tr>" for epoch in range(10)
    )
    header = "<tr><th>epoch</th><th>valid_loss</th><th>disc_loss</th><th>time</th></tr>"
    html = f'<table border="1" class="dataframe"><thead>{header}</thead><tbody>{rows}</tbody></table>'
    data = {"text/html": [html], "text/plain": ["<IPython.core.display.HTML object>"]}
    log = Notebook().read([notebook({"output_type": "display_data", "data": data})])
    assert log is not None
    assert log.columns["epoch"].values.tolist() == list(range(10))
    assert log.columns["disc_loss"].values.tolist() == [epoch / 100 for epoch in range(10)]
    assert log.columns.keys() == {"epoch", "disc_loss"}
