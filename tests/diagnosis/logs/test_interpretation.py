"""Columns of a log -> training logs: games, choice among columns, sums, what the user requests, and errors."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from equipoise.diagnosis.logs.interpretation import interpret
from equipoise.diagnosis.logs.log_columns import Column, LogColumns, ReadOptions
from equipoise.diagnosis.logs.training_log import TrainingLog
from equipoise.errors import DataError, SettingError

NAN = float("nan")


def make_log(columns: Mapping[str, Sequence[float | None]], **fields: object) -> LogColumns:
    """Return a log of columns with equal numbers of rows, and with steps if it has none; None is a missing value."""
    rows = max(map(len, columns.values()))
    table = {"step": Column(np.arange(rows), np.arange(rows) * 10.0)} if "step" not in columns else {}
    for name, values in columns.items():
        present = [row for row, value in enumerate(values) if value is not None]
        table[name] = Column(np.array(present, np.int64), np.array([values[row] for row in present], np.float64))
    return LogColumns("table", table, rows, **fields)  # type: ignore[arg-type]


def sources(log: TrainingLog) -> dict[str, str]:
    return {name: " + ".join(columns) for name, columns in log.sources.items()}


def values(log: TrainingLog, name: str) -> list[tuple[int, float]]:
    series = log.signals[name] if name in log.signals else log.metrics[name].series
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def test_cyclegan_has_two_games() -> None:
    log = make_log({"D_A": [0.2] * 3, "G_A": [0.5] * 3, "cycle_A": [1.0] * 3, "D_B": [0.3] * 3, "G_B": [0.4] * 3})
    first, second = interpret(log)
    assert (first.game, sources(first)) == ("A", {"loss_d": "D_A", "loss_g": "G_A"})
    assert (second.game, sources(second)) == ("B", {"loss_d": "D_B", "loss_g": "G_B"})
    assert first.ignored == ("cycle_A",)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ("loss_D_x", "loss_G_x", "loss_D_y", "loss_G_y"),
            {"X": ("loss_D_x", "loss_G_x"), "Y": ("loss_D_y", "loss_G_y")},
        ),
        # G_AB makes samples of B, which D_B judges.
        (
            ("loss_D_A", "loss_D_B", "loss_G_AB", "loss_G_BA"),
            {"A": ("loss_D_A", "loss_G_BA"), "B": ("loss_D_B", "loss_G_AB")},
        ),
        (("D_A", "D_B", "G_A2B", "G_B2A"), {"A": ("D_A", "G_B2A"), "B": ("D_B", "G_A2B")}),
        # TensorFlow's tutorial: generator g makes y, generator f makes x.
        (
            ("total_gen_g_loss", "total_gen_f_loss", "disc_x_loss", "disc_y_loss"),
            {"X": ("disc_x_loss", "total_gen_f_loss"), "Y": ("disc_y_loss", "total_gen_g_loss")},
        ),
        (("Loss_G", "Loss_F", "Loss_D_A", "Loss_D_B"), {"A": ("Loss_D_A", "Loss_F"), "B": ("Loss_D_B", "Loss_G")}),
        (("G_loss", "F_loss", "D_X_loss", "D_Y_loss"), {"X": ("D_X_loss", "F_loss"), "Y": ("D_Y_loss", "G_loss")}),
        (
            ("monet_gen_loss", "photo_gen_loss", "monet_disc_loss", "photo_disc_loss"),
            {"monet": ("monet_disc_loss", "monet_gen_loss"), "photo": ("photo_disc_loss", "photo_gen_loss")},
        ),
        (("D_A", "D_B", "loss_G"), {"A": ("D_A", "loss_G"), "B": ("D_B", "loss_G")}),
    ],
)
def test_names_of_two_games(names: Sequence[str], expected: Mapping[str, tuple[str, str]]) -> None:
    logs = interpret(make_log({name: [0.5, 0.6] for name in names}))
    assert {log.game: (sources(log)["loss_d"], sources(log)["loss_g"]) for log in logs} == expected


def test_a_metric_without_a_label_belongs_to_every_game() -> None:
    columns = {"D_A": [1.0, 2], "G_A": [1.0, 2], "D_B": [1.0, 2], "G_B": [1.0, 2], "fid": [9.0, 8], "FID_A": [7.0, 6]}
    first, second = interpret(make_log(columns))
    assert sources(second) == {"loss_d": "D_B", "loss_g": "G_B", "fid": "fid"}
    assert {"FID_A", "fid"} & set(sources(first).values())
    assert "FID_A" not in second.ignored


def test_one_label_alone_is_no_second_game() -> None:
    (log,) = interpret(make_log({"D_A": [1.0, 2], "G_A": [1.0, 2]}))
    assert (log.game, sources(log)) == ("", {"loss_d": "D_A", "loss_g": "G_A"})


def test_runs_of_one_table_are_diagnosed_one_by_one() -> None:
    log = make_log(
        {"a-1 - d_loss": [1.0, 2], "a-1 - g_loss": [1.0, 2], "b-2 - d_loss": [3.0, 4], "b-2 - d_loss__MAX": [9.0, 9]}
    )
    first, second = interpret(log)
    assert (first.game, values(first, "loss_d")) == ("a-1", [(0, 1.0), (10, 2.0)])
    assert (second.game, values(second, "loss_d")) == ("b-2", [(0, 3.0), (10, 4.0)])


def test_parts_are_added_where_a_total_is_missing() -> None:
    parts = {"l_d_real": [1.0, None, 3.0, NAN], "l_d_fake": [0.5, 0.5, 0.25, 0.5], "l_g_gan": [1.0] * 4}
    (log,) = interpret(make_log(parts))
    assert log.sources["loss_d"] == ("l_d_real", "l_d_fake")
    steps, sums = log.signals["loss_d"].steps.tolist(), log.signals["loss_d"].values
    assert steps == [0, 20, 30], "where both parts have a value"
    np.testing.assert_array_equal(sums, [1.5, 3.25, NAN])
    (log,) = interpret(make_log({**parts, "loss_D": [7.0] * 4}))
    assert sources(log)["loss_d"] == "loss_D"


def test_parts_on_different_rows_of_one_step_are_added() -> None:
    columns = {"step": [1.0, 1, 2, 2], "errD_real": [1.0, None, 2, None], "errD_fake": [None, 0.5, None, 0.25]}
    (log,) = interpret(make_log(columns), ReadOptions(step_from="step"))
    assert values(log, "loss_d") == [(1, 1.5), (2, 2.25)]


def test_the_column_with_more_values_is_chosen() -> None:
    dense: list[float | None] = [0.1, 0.2, 0.3, 0.4]
    sparse = [None, 0.5, None, None]
    (log,) = interpret(make_log({"d_loss_epoch": sparse, "d_loss_step": dense}))
    assert sources(log)["loss_d"] == "d_loss_step"
    assert log.ignored == ("d_loss_epoch",)
    (log,) = interpret(make_log({"d_loss_epoch": dense, "d_loss_step": sparse}))
    assert sources(log)["loss_d"] == "d_loss_epoch"


def test_percent_become_shares() -> None:
    columns = {"D loss": [0.3] * 3, "acc": [50.0, 75, 100], "D(x)": [60.0, 70, 80]}
    (log,) = interpret(make_log(columns, percent=frozenset({"acc", "D(x)"})))
    assert values(log, "accuracy_d") == [(0, 0.5), (10, 0.75), (20, 1.0)]
    assert values(log, "probability_real") == [(0, 0.6), (10, pytest.approx(0.7)), (20, pytest.approx(0.8))]
    (log,) = interpret(make_log({"d_loss": [0.3] * 3, "d_acc": [50.0, 75, 100]}))
    assert values(log, "accuracy_d")[1] == (10, 0.75)
    assert any("percent" in note for note in log.notes)


def test_augmentation_beyond_one_is_no_percentage() -> None:
    (log,) = interpret(make_log({"augment": [0.2, 6.5]}))
    assert values(log, "augment_p") == [(0, 0.2), (10, 6.5)]


def test_accuracies_of_both_sides_are_averaged() -> None:
    (log,) = interpret(make_log({"d_loss": [0.3] * 2, "D_real_acc": [0.5, 0.7], "D_fake_acc": [0.7, 0.9]}))
    assert values(log, "accuracy_d") == [(0, 0.6), (10, pytest.approx(0.8))]


def test_missing_and_infinite_values_remain() -> None:
    (log,) = interpret(make_log({"loss_d": [1.0, NAN, float("inf")], "fid": [None, 5.0, NAN]}))
    np.testing.assert_array_equal(log.signals["loss_d"].values, [1.0, NAN, float("inf")])
    assert log.metrics["fid"].series.steps.tolist() == [10, 20]


def test_the_same_metric_of_two_splits() -> None:
    (log,) = interpret(make_log({"train/fid": [5.0, 4, 3], "val/fid": [9.0, 8, 7]}))
    assert set(sources(log).items()) == {("fid", "val/fid"), ("train_fid", "train/fid")}


def test_d_of_x_is_a_probability_only_in_the_unit_interval() -> None:
    (log,) = interpret(make_log({"D(x)": [0.7, 0.9], "D(G(z))": [0.1, 1.2]}))
    assert set(log.signals) == {"logit_real", "logit_fake"}, "one of them beyond 1 shows that both are logits"


def test_requested_columns_win_over_the_table() -> None:
    log = make_log({"d_loss": [1.0, 2], "g_loss": [1.0, 2], "critic": [3.0, 4], "my score": [5.0, 6], "Best": [1.0, 1]})
    options = ReadOptions(columns={"loss_d": "critic", "score": "my score:higher", "fid": "best"})
    (result,) = interpret(log, options)
    assert sources(result) == {"loss_d": "critic", "loss_g": "g_loss", "score": "my score", "fid": "Best"}
    assert (result.metrics["score"].better, result.metrics["fid"].better) == ("higher", "lower")
    assert "d_loss" in result.ignored


def test_requested_columns_make_one_game() -> None:
    columns = {"D_A": [1.0, 2], "G_A": [1.0, 2], "D_B": [3.0, 4], "G_B": [3.0, 4]}
    (log,) = interpret(make_log(columns), ReadOptions(columns={"loss_d": "D_B", "loss_g": "G_B"}))
    assert values(log, "loss_d") == [(0, 3.0), (10, 4.0)]
    assert set(log.ignored) == {"D_A", "G_A"}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"los_d": "alpha"}, "did you mean 'loss_d'.*loss_g.*los_d=alpha:lower"),
        ({"loss_d": "alfa"}, "no column 'alfa' in the log; its columns are alpha, "),
        ({"fid": "alpha:better"}, "no column 'alpha:better'"),
    ],
)
def test_requested_columns_that_do_not_exist(columns: Mapping[str, str], message: str) -> None:
    log = make_log({"beta": [1.0, 2], "alpha": [1.0, 2]})
    with pytest.raises(SettingError, match=message) as error:
        interpret(log, ReadOptions(columns=columns))
    assert "\n" not in str(error.value)


def test_unknown_columns_are_listed_with_the_flag_that_reads_them() -> None:
    log = make_log(
        {"actor": [0.2, 1.5], "critic": [-3.0, 4], "lr": [1e-4, 1e-4]}, examples=("t 1 | a\x1b[31m 0.2", "t 2")
    )
    with pytest.raises(DataError) as error:
        interpret(log)
    message = str(error.value)
    assert "actor (0.2 to 1.5), critic (-3 to 4), lr (0.0001)" in message
    assert "--columns loss_d=critic,loss_g=actor" in message
    assert "'t 1 | a\\x1b[31m 0.2' and 't 2'" in message
    assert not {"\n", "\x1b"} & set(message)


def test_columns_that_say_loss_are_suggested_first() -> None:
    with pytest.raises(DataError, match="--columns loss_d=loss,loss_g='loss 2'"):
        interpret(make_log({"ms/batch": [200.0, 210], "loss": [1.9, 2], "loss 2": [2.3, 2.2]}))


def test_a_log_of_counters_alone() -> None:
    with pytest.raises(DataError, match="no column of numbers besides its counters"):
        interpret(make_log({"step": [1.0, 2], "epoch": [1.0, 1]}))


@pytest.mark.parametrize(
    ("columns", "kind", "reason"),
    [
        ({"d_loss": [0.5, 0.4]}, "bounded", "never negative"),
        ({"d_loss": [0.5, -0.4]}, "unbounded", "negative at times .*-0.4"),
        ({"critic_loss": [0.5, 0.4]}, "unbounded", "name critic_loss is that of a Wasserstein loss"),
        ({"D_real": [-2.0, -3], "D_fake": [1.0, 1], "G_GAN": [1.0, 2]}, "unbounded", "negative"),
        ({"d_loss": [0.5, 0.4], "D_loss_cls": [0.3, 0.2]}, "composite", "classification term D_loss_cls"),
        ({"d_loss_real": [0.5, 0.4], "d_loss_fake": [0.5, 0.4], "D_loss_cls": [0.3, 0.2]}, "bounded", "never"),
        ({"d_loss": [0.5, 0.4], "G_loss_cls": [0.3, 0.2]}, "bounded", "never"),
        ({"Loss_D": [0.06, 0.05], "measure": [0.1, 0.1], "k_t": [0.1, 0.1]}, "unbounded", "k_t is that of BEGAN"),
        ({"g_loss": [0.5, 0.4]}, "none", "no loss of the discriminator"),
        ({"d_loss": [NAN, NAN], "g_loss": [1.0, 2]}, "none", "no finite value"),
    ],
)
def test_kind_of_the_loss(columns: Mapping[str, Sequence[float]], kind: str, reason: str) -> None:
    (log,) = interpret(make_log(columns))
    assert log.loss_kind.kind == kind
    assert re.search(reason, log.loss_kind.reason)
    assert any(re.search(reason, note) for note in log.notes) == (kind in ("unbounded", "composite"))


def test_notes_of_the_reader_come_first() -> None:
    (log,) = interpret(make_log({"loss_d": [1.0, 2]}, notes=("3 lines were cut.",)))
    assert log.notes[0] == "3 lines were cut."


def test_repeated_steps_are_counted() -> None:
    columns = {"step": [1.0, 1, 2, 3, 4, 5, 6], "loss_d": [9.0, 1, 2, 3, 4, 5, 6]}
    (log,) = interpret(make_log(columns), ReadOptions(step_from="step"))
    assert values(log, "loss_d")[0] == (1, 1.0)
    assert "1 of 7 values of loss_d have the step of the next value and were superseded by it." in log.notes


def test_unused_columns_that_look_like_losses_come_first() -> None:
    columns = {"time": [0.1, 0.1], "lr": [0.1, 0.1], "G_L1": [1.0, 2], "D_A": [1.0, 2], "G_A": [1.0, 2], "xi": [1.0, 2]}
    (log,) = interpret(make_log(columns))
    assert log.ignored == ("G_L1", "xi", "time", "lr")
