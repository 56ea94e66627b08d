"""The counter of a log is the one that keeps its rows apart; what it drops or takes otherwise is said."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from equipoise.diagnosis.columns.counters import assign_steps, counter_unit
from equipoise.diagnosis.logs.log_columns import Column, LogColumns
from equipoise.errors import DataError

NAN = float("nan")


def make_log(columns: Mapping[str, Sequence[float]], **fields: object) -> LogColumns:
    """Return a log of columns, of which nan stands for no value, with a loss in each row unless it is given."""
    count = len(next(iter(columns.values())))
    columns = {"loss_d": [0.5] * count, **columns}
    result = {}
    for name, numbers in columns.items():
        values = np.array(numbers, np.float64)
        rows = np.flatnonzero(~np.isnan(values))
        result[name] = Column(rows, values[rows])
    return LogColumns("test", result, count, **fields)  # type: ignore[arg-type]


def steps_of(columns: Mapping[str, Sequence[float]], **fields: object) -> list[float]:
    return assign_steps(make_log(columns, **fields)).steps.tolist()


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        *[(name, "step") for name in ("step", "global_step", "Iteration", "iters", "itr", "_step", "n_iter", "batch")],
        *[("trainer/global_step", "step"), ("time/step", "step"), ("kimg", "image"), ("Progress/kimg", "image")],
        *[("epoch", "epoch"), ("Epoch", "epoch"), ("loss_d", None), ("lr", None), ("steps_per_second", None)],
    ],
)
def test_counters_are_known_by_name(name: str, unit: str | None) -> None:
    assert counter_unit(name) == unit


def test_the_finest_counter_is_chosen_and_steps_before_images_before_epochs() -> None:
    columns = {"epoch": [0, 0, 1, 1], "kimg": [1, 2, 3, 4], "step": [10, 20, 30, 40]}
    assert steps_of(columns) == [10, 20, 30, 40]
    images = assign_steps(make_log({"epoch": [0, 0, 1, 1], "kimg": [0.5, 1, 1.5, 2]}, totals={"kimg": 25}))
    assert (images.steps.tolist(), images.unit, images.total) == ([500, 1000, 1500, 2000], "image", 25_000)
    assert assign_steps(make_log({"epoch": [1, 2, 3]})).unit == "epoch"


def test_a_constant_step_is_not_preferred_to_an_epoch_that_counts() -> None:
    assert steps_of({"step": [100, 100, 100, 100], "epoch": [0, 1, 2, 3]}) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        pytest.param([0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 2, 3], id="from zero"),
        pytest.param([1, 1, 2, 2], [100, 200, 100, 200], [100, 200, 300, 400], id="from one (pix2pix)"),
        pytest.param([7, 7, 8, 8], [0, 50, 0, 50], [700, 750, 800, 850], id="resumed at an epoch"),
        pytest.param([1, NAN, NAN, 2, NAN, NAN], [NAN, 0, 1, NAN, 0, 1], [0, 0, 1, 2, 2, 3], id="headers of epochs"),
        pytest.param(
            [NAN, NAN, 0, NAN, NAN, 1], [0, 1, NAN, 0, 1, NAN], [0, 1, 2, 2, 3, 4], id="epochs after their end"
        ),
    ],
)
def test_epoch_and_batch_are_one_counter(outer: list[float], inner: list[float], expected: list[float]) -> None:
    result = assign_steps(make_log({"epoch": outer, "batch": inner}))
    assert result.steps.tolist() == expected
    assert (result.unit, result.counters) == ("step", ("epoch", "batch"))


def test_planned_lengths_give_the_length_of_an_epoch_and_of_the_run() -> None:
    log = make_log({"#1": [0, 0, 1, 1], "#2": [0, 50, 0, 50]}, totals={"#1": 25, "#2": 500})
    result = assign_steps(log)
    assert result.steps.tolist() == [0, 50, 500, 550]
    assert result.total == 12_500


def test_one_row_per_epoch_still_counts_the_steps_of_each_epoch() -> None:
    """The DCGAN example with one line per epoch: "[1/500][0/14]"."""
    steps = assign_steps(make_log({"#1": [0, 1, 2], "#2": [0, 0, 0]}, totals={"#1": 500, "#2": 14}))
    assert (steps.steps.tolist(), steps.total) == ([0, 14, 28], 7000)


def test_a_third_counter_that_goes_on_is_preferred_to_a_pair() -> None:
    assert steps_of({"#1": [0, 0, 1, 1], "#2": [0, 5, 0, 5], "#3": [3, 8, 13, 18]}) == [3, 8, 13, 18]


def test_a_global_step_is_not_multiplied_by_the_epoch() -> None:
    assert steps_of({"epoch": [0, 0, 1, 1], "iter": [1, 2, 3, 4]}) == [1, 2, 3, 4]


def test_a_column_without_a_name_and_with_fractions_does_not_count() -> None:
    assert steps_of({"#1": [1, 2, 3], "#2": [1e-4, 1e-4, 1e-4]}) == [1, 2, 3]
    assert assign_steps(make_log({"#2": [9.9e-5, 9.8e-5, 9.7e-5]})).unit == "row"


def test_rows_take_the_counter_of_the_rows_before_them() -> None:
    log = make_log({"step": [NAN, 10, NAN, 20, NAN], "loss_d": [1, 1, NAN, 1, NAN], "fid": [NAN, NAN, 9, NAN, 8]})
    result = assign_steps(log)
    assert result.steps.tolist()[1:] == [10, 10, 20, 20]
    assert np.isnan(result.steps[0])
    assert result.notes == ("1 of 5 rows have no counter before or in them (step) and were dropped.",)


def test_an_epoch_for_many_rows_is_not_used_and_nothing_is_dropped() -> None:
    result = assign_steps(make_log({"epoch": [row // 20 for row in range(100)]}))
    assert result.steps.tolist() == list(range(1, 101))
    assert result.unit == "row"
    assert "epoch is the same in 95% of consecutive rows (0 to 4): the 100 rows are counted" in result.notes[0]


def test_two_lines_of_a_step_are_not_repeated_rows() -> None:
    log = make_log({"step": [1, 1, 2, 2], "loss_d": [0.5, NAN, 0.4, NAN], "loss_g": [NAN, 1, NAN, 1]})
    assert assign_steps(log).unit == "step"


def test_fractions_of_epochs_are_counted_by_rows() -> None:
    result = assign_steps(make_log({"epoch": [row * 0.05 for row in range(60)]}))
    assert result.unit == "row"
    assert "epoch has fractions" in result.notes[0]


def test_a_counter_that_begins_again_without_an_epoch() -> None:
    result = assign_steps(make_log({"iter": [row % 10 for row in range(50)]}))
    assert result.steps.tolist() == list(range(50))
    assert result.notes == ("Column iter begins again 4 times; each time is taken as an epoch of 10 steps.",)
    assert steps_of({"batch": [0, 1, 2, 0, 1, 2]}) == [0, 1, 2, 3, 4, 5]


def test_a_resumed_run_and_two_runs_in_one_file_are_told_apart() -> None:
    resumed = assign_steps(make_log({"step": [*range(0, 100, 10), *range(50, 150, 10)]}))
    assert resumed.notes == (
        "The counter goes back from 90 to 50: the run was resumed there, and 5 rows were superseded.",
    )
    several = assign_steps(make_log({"step": [*range(0, 100, 10), *range(0, 100, 10)]}))
    assert "begins again at 0 after 90" in several.notes[0]
    assert "10 rows of earlier runs were dropped" in several.notes[0]


def test_a_resumption_of_two_rows_is_reported() -> None:
    (note,) = assign_steps(make_log({"step": [1, 2, 3, 4, 3, 4, 5, 6, 7]})).notes
    assert note == "The counter goes back from 4 to 3: the run was resumed there, and 2 rows were superseded."


def test_two_runs_of_epochs_are_not_more_epochs() -> None:
    run = [(row // 50, row % 50) for row in range(100)]
    epochs, batches = zip(*(run + run), strict=True)
    result = assign_steps(make_log({"#1": epochs, "#2": batches}, totals={"#1": 20, "#2": 50}))
    assert result.steps.tolist() == [*range(100), *range(100)]
    assert "begins again at 0 after 99" in result.notes[0]


def test_a_late_metric_is_not_a_restart() -> None:
    log = make_log({"step": [10, 20, 30, 20, 40, 50], "fid": [NAN, NAN, NAN, 9.0, NAN, NAN]})
    assert assign_steps(log).notes == ()


def test_rows_in_descending_order_are_reported() -> None:
    result = assign_steps(make_log({"step": [40, 30, 20, 10]}))
    assert result.steps.tolist() == [40, 30, 20, 10]
    assert result.notes == ("The rows are in descending order of step; sorted.",)


@pytest.mark.parametrize("absurd", [-5.0, 1e30, float("inf")])
def test_numbers_that_cannot_count_are_reported(absurd: float) -> None:
    result = assign_steps(make_log({"step": [10, absurd, 30]}))
    assert result.steps.tolist() == [10, 10, 30]
    assert "1 of 3 values of step are not numbers" in result.notes[0]


def test_progress_in_percent_gives_the_planned_length() -> None:
    log = make_log({"step": [100, 200], "Progress": [2.0, 4.0]}, percent=frozenset({"Progress"}))
    assert assign_steps(log).total == 5000


def test_a_requested_counter_is_used_as_it_is() -> None:
    log = make_log({"epoch": [0, 0, 1], "step": [1, 2, 3], "minute": [5, 6, 7.5]})
    result = assign_steps(log, "Minute")
    assert (result.steps.tolist(), result.counters) == ([5, 6, 7.5], ("minute",))
    with pytest.raises(DataError, match=r"no column 'hour'.*minute"):
        assign_steps(log, "hour")
    assert assign_steps(log, "epoch").steps.tolist() == [0, 0, 1]
    with pytest.raises(DataError, match="no numbers that can count"):
        assign_steps(make_log({"x": [-1.0, -2.0]}), "x")


def test_rows_are_counted_in_rows_of_the_log() -> None:
    assert steps_of({"loss_g": [1, 2, 3]}, stride=4) == [4, 8, 12]


def test_a_counter_at_the_end_of_each_block_counts_the_rows_before_it() -> None:
    steps = [NAN, NAN, 10, NAN, NAN, 20, NAN, NAN, 30, NAN, NAN, 40]
    loss = [0.5, NAN, NAN] * 4
    assert steps_of({"loss_d": loss, "step": steps}) == [10, 10, 10, 20, 20, 20, 30, 30, 30, 40, 40, 40]
    assert steps_of({"loss_d": [*loss, 0.5], "step": [*steps, NAN]})[3:] == [10, 10, 20, 20, 20, 30, 30, 30, 40, 40]


def test_the_index_of_a_table_is_no_better_than_a_named_epoch() -> None:
    assignment = assign_steps(make_log({"#1": [0, 1, 2, 3], "epoch": [1, 2, 3, 4]}))
    assert (assignment.unit, assignment.counters) == ("epoch", ("epoch",))
    assignment = assign_steps(make_log({"#7": [0, 20, 40, 60], "epoch": [1, 2, 3, 4]}))
    assert (assignment.unit, assignment.counters) == ("step", ("#7",))


def test_a_speed_is_no_counter() -> None:
    assert counter_unit("Avg Run Time (ms/batch)") is None
    assert counter_unit("s/step") is None


def test_numbers_of_processes_do_not_count() -> None:
    ranks, steps = [0, 1, 1, 0] * 6, np.repeat(np.arange(12) * 10, 2).tolist()
    assignment = assign_steps(make_log({"#1": ranks, "step": steps}))
    assert (assignment.steps.tolist(), assignment.counters) == (steps, ("step",))
    assert "several processes (#1) alternate" in assignment.notes[0]


def test_columns_one_after_another_are_no_restart() -> None:
    columns = {"loss_d": [0.5, 0.4, NAN, NAN], "loss_g": [NAN, NAN, 1.0, 1.1], "step": [10, 20, 10, 20]}
    assignment = assign_steps(make_log(columns))
    assert (assignment.steps.tolist(), assignment.notes) == ([10, 20, 10, 20], ())


def test_processes_without_numbers_repeat_each_step_equally_often() -> None:
    steps = np.repeat(np.arange(20) * 10, 4).tolist()
    assert assign_steps(make_log({"step": steps})).steps.tolist() == steps
    assert assign_steps(make_log({"step": steps[1:]})).unit == "row"
    assert assign_steps(make_log({"epoch": np.repeat(np.arange(20), 4).tolist()})).unit == "row"
