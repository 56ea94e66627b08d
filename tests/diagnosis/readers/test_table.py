"""Tables of all separators, with and without a header, intact and damaged, give the numbers that they contain."""

import math
from pathlib import Path

import numpy as np
import pytest

from equipoise.diagnosis import readers
from equipoise.diagnosis.logs.log_columns import LogColumns, ReadOptions
from equipoise.diagnosis.logs.log_file import LogFile
from equipoise.diagnosis.logs.training_log import TrainingLog
from equipoise.diagnosis.parsing import number_blocks
from equipoise.diagnosis.parsing.table_layout import find_layout, name_series, parse_cell
from equipoise.diagnosis.readers.table import Table
from equipoise.errors import DataError

TABLE = "step,train/d_loss,G Loss,FID,lr\n1,0.5,2.0,90,1e-4\n2,0.4,nan,,1e-4\n3,0.3,2.2,70,1e-4\n"


def read(folder: Path, text: str, name: str = "log.csv", options: ReadOptions | None = None) -> TrainingLog:
    path = folder / name
    path.write_text(text, newline="")
    return readers.read_games(path, options)[0]


def read_columns(text: str) -> LogColumns:
    log = Table().read([LogFile(Path("log.csv"), text.encode())])
    assert log is not None
    return log


def values(log: TrainingLog, name: str) -> list[tuple[int, float]]:
    column = log.signals[name] if name in log.signals else log.metrics[name].series
    return list(zip(column.steps.tolist(), column.values.tolist(), strict=True))


def aligned(text: str) -> str:
    return "".join("".join(f"{cell:<14}" for cell in line.split(",")) + "\n" for line in text.splitlines())


PLAIN = "step,d_loss,g_loss\n1,0.5,2.0\n2,0.4,2.1\n3,0.3,2.2\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(PLAIN, id="CSV"),
        pytest.param(PLAIN.replace("\n", "\r\n"), id="CRLF"),
        pytest.param("\ufeff" + PLAIN, id="byte-order mark"),
        pytest.param(PLAIN.replace(",", ";"), id="semicolons"),
        pytest.param(PLAIN.replace(",", ";").replace(".", ","), id="decimal commas"),
        pytest.param("sep=;\n" + PLAIN.replace(",", ";"), id="Excel's sep="),
        pytest.param(PLAIN.replace(",", "\t"), id="tabs"),
        pytest.param(aligned(PLAIN), id="aligned by spaces"),
        pytest.param("# " + PLAIN.replace(",", " "), id="header as a comment (numpy.savetxt)"),
        pytest.param("# run 3\n# seed 7\n" + PLAIN, id="comments before the header"),
        pytest.param(PLAIN.replace("2,0.4", "# a remark\n2,0.4"), id="a comment between the rows"),
        pytest.param("results of run 3\n\n" + PLAIN, id="text before the header"),
        pytest.param("\n".join(",".join(f'"{c}"' for c in row.split(",")) for row in PLAIN.split()), id="quotes"),
        pytest.param("\n".join(f"| {row.replace(',', ' | ')} |" for row in PLAIN.split()), id="bars"),
        pytest.param(PLAIN.replace("g_loss\n", "g_loss\n---,---,---\n").replace(",", "|"), id="Markdown"),
        pytest.param(PLAIN.replace("step", ""), id="index without a name (pandas)"),
        pytest.param(
            "time," + PLAIN.replace("\n", "\n2024-05-01 12:00:00,").rsplit("2024", 1)[0], id="a column of dates"
        ),
    ],
)
def test_every_form_of_a_table_gives_the_same_series(tmp_path: Path, text: str) -> None:
    log = read(tmp_path, text)
    assert values(log, "loss_d") == [(1, 0.5), (2, 0.4), (3, 0.3)]
    assert values(log, "loss_g") == [(1, 2.0), (2, 2.1), (3, 2.2)]


def test_an_empty_cell_is_no_value_and_nan_is_one(tmp_path: Path) -> None:
    log = read(tmp_path, TABLE)
    assert values(log, "fid") == [(1, 90.0), (3, 70.0)]
    assert math.isnan(values(log, "loss_g")[1][1])
    assert log.ignored == ("lr",)


def test_rows_with_steps_of_thousands_and_percent_signs() -> None:
    log = read_columns('step,d_loss,acc\n"1,000",0.5,81%\n"12,000",0.4,82.5%\n')
    assert log.columns["step"].values.tolist() == [1000, 12000]
    assert log.columns["acc"].values.tolist() == [81.0, 82.5]


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("0.5", 0.5),
        ("0,5", 0.5),
        ("1,234,567", 1234567.0),
        ("81.25%", 81.25),
        ("-inf", -math.inf),
        ("", None),
        ("-", None),
    ],
)
def test_parse_cell(cell: str, number: float | None) -> None:
    assert parse_cell(cell, decimal_comma=True) == number


def test_sparse_rows_of_lightning_use_the_values_of_steps(tmp_path: Path) -> None:
    text = "d_loss_epoch,d_loss_step,epoch,fid,step\n,0.7,0,,0\n,0.6,0,,50\n0.65,,0,80.0,99\n,0.5,1,,150\n"
    log = read(tmp_path, text, "metrics.csv")
    assert values(log, "loss_d") == [(0, 0.7), (50, 0.6), (150, 0.5)]
    assert values(log, "fid") == [(99, 80.0)]


def test_runs_of_a_wandb_export_are_read_apart(tmp_path: Path) -> None:
    text = (
        '"Step","a - d_loss","a - d_loss__MIN","a - d_loss__MAX","b-2 - d_loss"\n1,0.5,0.4,0.6,0.9\n2,0.4,0.3,0.5,0.8\n'
    )
    (tmp_path / "wandb.csv").write_text(text)
    first, second = readers.read_games(tmp_path / "wandb.csv")
    assert values(first, "loss_d") == [(1, 0.5), (2, 0.4)]
    assert values(second, "loss_d") == [(1, 0.9), (2, 0.8)]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("run-.-tag-FID.csv", "FID"),
        ("tb_scalar_export_fid.csv", "fid"),
        ("run_train-tag-Loss_D.csv", "Loss_D"),
        ("d_loss.csv.gz", "d_loss"),
        ("accuracy.csv", "accuracy"),
    ],
)
def test_the_scalar_export_of_tensorboard_is_named_by_its_file(name: str, column: str) -> None:
    assert name_series(("Wall time", "Step", "Value"), name) == ("Wall time", "Step", column)


def test_table_with_a_name_and_a_value_in_each_row(tmp_path: Path) -> None:
    log = read(tmp_path, "step,tag,value\n1,loss_d,0.5\n1,loss_g,2\n2,loss_d,0.4\n2,loss_g,3\n")
    assert values(log, "loss_d") == [(1, 0.5), (2, 0.4)]
    assert values(log, "loss_g") == [(1, 2.0), (2, 3.0)]


def test_rows_of_another_length_and_repeated_headers_are_counted() -> None:
    log = read_columns(PLAIN + "4,0.2\n" + PLAIN + "7,0.2,1,9\n")
    assert log.row_count == 6
    assert log.notes == (
        "2 rows have another number of cells than the header; skipped.",
        "The header occurs 2 times: several parts were written to the file.",
    )


def test_words_and_columns_of_words_are_counted() -> None:
    rows = "".join(f"{step},2024-05-01,0.5,{30.5 if step == 80 else 'None'}\n" for step in range(100))
    log = read_columns(f"step,day,d_loss,fid\n{rows}100,2024-05-02,failed,None\n")
    assert log.columns["fid"].values.tolist() == [30.5]
    assert log.notes == (
        "1 column without numbers: day.",
        "1 cell with a word in place of a number, such as 'failed': taken as missing.",
    )


@pytest.mark.parametrize("end", ["4,0.2,2.35", "4,0.2,2.3"])
def test_a_complete_last_row_counts(end: str) -> None:
    assert read_columns(PLAIN + end).row_count == 4


@pytest.mark.parametrize("end", ["4,0.2", "4,0.2,", "4,0.2,2."])
def test_a_last_row_that_was_cut_is_left_out(end: str) -> None:
    log = read_columns(PLAIN + end)
    if end.endswith(","):  # an empty cell: the row is complete
        assert log.row_count == 4
        return
    assert log.row_count == 3
    assert log.notes == (f"The last row was cut while it was written and was left out: '{end}'.",)


def test_a_table_without_a_header_is_read_by_positions(tmp_path: Path) -> None:
    text = "0,0.5,2.0\n10,0.4,2.1\n20,0.3,2.2\n"
    with pytest.raises(DataError, match=r"#2 \(0\.3 to 0\.5\).*--columns"):
        read(tmp_path, text)
    log = read(tmp_path, text, options=ReadOptions({"loss_d": "#2", "loss_g": "#3"}, step_from="#1"))
    assert values(log, "loss_d") == [(0, 0.5), (10, 0.4), (20, 0.3)]


def test_step_from_names_a_column_and_errors_name_the_columns(tmp_path: Path) -> None:
    text = "step,minute,d_loss\n1,10,0.5\n2,20,0.4\n"
    log = read(tmp_path, text, options=ReadOptions(step_from="minute"))
    assert values(log, "loss_d") == [(10, 0.5), (20, 0.4)]
    with pytest.raises(DataError, match=r"no column 'hour'.*step, minute, d_loss"):
        read(tmp_path, text, options=ReadOptions(step_from="hour"))


@pytest.mark.parametrize(
    "text",
    ["dear diary, it trains\nand trains, and trains\n", "[Epoch 1/2], d: 0.5, g: 0.6\n" * 5, "a,b\n", "a,b\nc,d\n", ""],
)
def test_other_texts_are_no_tables(text: str) -> None:
    assert find_layout(text) is None


def test_a_quote_without_an_end_is_a_character() -> None:
    log = read_columns(PLAIN.replace("2,0.4", '2,"0.4'))
    assert log.columns["d_loss"].values.tolist() == [0.5, 0.4, 0.3]
    assert "quote has no end" in log.notes[0]


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_blocks_of_numbers_are_those_of_single_cells(separator: str) -> None:
    rows = [(1, 0.5, math.nan), (20, -1e-7, math.inf), (300, 1e300, 0.25)]
    text = "".join(separator.join(map(repr, row)) + "\n" for row in rows)
    np.testing.assert_array_equal(number_blocks.parse_block(text, separator, 3, False), np.array(rows))


@pytest.mark.parametrize(
    "text", ["1,2\n3,4,5\n", "1,2,3\n4,5\n6,7,8,9\n", "1,x,3\n", '1,"2",3\n', "1,-7e77,3\n", "1,2é,3\n"]
)
def test_blocks_with_other_rows_are_not_numbers(text: str) -> None:
    assert number_blocks.parse_block(text, ",", 3, False) is None


@pytest.mark.parametrize("text", ["1,,3\n,,\n4,5,\n", ",2,3\n4,,\n", ",,\n,,"])
def test_empty_cells_of_a_block_are_missing(text: str) -> None:
    numbers = number_blocks.parse_block(text, ",", 3, False)
    assert numbers is not None
    expected = [[float(cell) if cell else number_blocks.MISSING for cell in line.split(",")] for line in text.split()]
    assert numbers.tolist() == expected


def test_tables_with_box_characters(tmp_path: Path) -> None:
    text = (
        "┏━━━━━━━┳━━━━━━━━┓\n┃ Epoch ┃ D loss ┃\n┡━━━━━━━╇━━━━━━━━┩\n"
        "│ 1     │ 0.5    │\n├───────┼────────┤\n│ 2     │ 0.4    │\n└───────┴────────┘\n"
    )
    log = read(tmp_path, text, "log.txt")
    assert values(log, "loss_d") == [(1, 0.5), (2, 0.4)]
    assert (log.unit, log.notes) == ("epoch", ())


def test_empty_cells_between_aligned_columns(tmp_path: Path) -> None:
    text = aligned("epoch,iteration,dis/loss,FID\n") + aligned("0,100,0.5,\n0,200,0.4,90.5\n0,300,0.3,\n")
    log = read(tmp_path, text, "log.txt")
    assert values(log, "loss_d") == [(100, 0.5), (200, 0.4), (300, 0.3)]
    assert values(log, "fid") == [(200, 90.5)]


@pytest.mark.parametrize(
    ("name", "text"),
    [("G_loss.log", "100: 5.0e-01\n200: 4.0e-01\n"), ("run_g_loss.txt", "100 0.5\n200 0.4\n")],
)
def test_numbers_without_names_are_named_by_the_file(tmp_path: Path, name: str, text: str) -> None:
    assert values(read(tmp_path, text, name), "loss_g") == [(100, 0.5), (200, 0.4)]


def test_one_column_of_numbers_is_named_by_the_file(tmp_path: Path) -> None:
    log = read(tmp_path, "0.5\n0.4\n0.3\n", "d_loss.txt")
    assert (values(log, "loss_d"), log.unit) == ([(1, 0.5), (2, 0.4), (3, 0.3)], "row")
    with pytest.raises(DataError):
        read(tmp_path, "0.5\n0.4\n0.3\n", "numbers.txt")


def test_lines_with_names_below_words_are_no_table() -> None:
    lines = "".join(f"total_batch:  {batch} test_loss:  8.9\n" for batch in range(30))
    assert find_layout(f"Start discriminator training...\n{lines}") is None


def test_blocks_of_names_and_numbers_are_no_table() -> None:
    assert find_layout("| d_loss | g_loss |\n" + "| d_loss | 0.5 |\n| g_loss | 0.6 |\n" * 9) is None


def test_files_of_mlflow_have_times_values_and_steps(tmp_path: Path) -> None:
    for name, value in (("d_loss", 0.5), ("g_loss", 1.0)):
        (tmp_path / name).write_text("".join(f"{1_600_000_000_000 + row} {value} {row * 10}\n" for row in range(3)))
    log = readers.read_games(tmp_path)[0]
    assert values(log, "loss_d") == [(0, 0.5), (10, 0.5), (20, 0.5)]
    assert values(log, "loss_g") == [(0, 1.0), (10, 1.0), (20, 1.0)]
