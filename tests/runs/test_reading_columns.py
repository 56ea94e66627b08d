import json
import math
from pathlib import Path

import pytest

from equipoise.runs.live_log import LiveLog
from equipoise.runs.reading_columns import ReadingColumns
from equipoise.runs.run import EVENTS_FILE, Run

FIXTURE = Path(__file__).parents[1] / "fixtures" / "format_1_ring"


def line(step: int, signals: dict[str, object], **fields: object) -> dict[str, object]:
    start = {"event": "sensed", "step": step, "images": step, "progress": 0.1, "seconds": 1.0, "loss": {}}
    return {**start, "signals": {**signals, "metrics": {}}, "health": {"findings": []}, **fields}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / EVENTS_FILE


def write(path: Path, *lines: dict[str, object], mode: str = "w") -> None:
    with path.open(mode) as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def columns_of(path: Path) -> ReadingColumns:
    log = LiveLog(path)
    log.refresh()
    return ReadingColumns(log)


def test_all_columns_are_those_of_the_parsed_lines() -> None:
    columns, lines = columns_of(FIXTURE / EVENTS_FILE), Run(FIXTURE).lines("sensed")
    names = columns.names()
    assert {"rank_train_fake", "loss_g", "generator.total", "discriminator.r1", "non_finite"} <= set(names)
    for name, column in columns.read(names).items():
        if "." in name:
            statistics = [line["loss"].get(name, {}) for line in lines]
            for values, key in ((column.values, "mean"), (column.low, "min"), (column.high, "max")):
                assert list(values) == [item.get(key) for item in statistics]
        else:
            assert list(column.values) == [line["signals"].get(name) for line in lines]


def test_a_missing_signal_is_not_read_from_the_evidence_of_a_finding(path: Path) -> None:
    evidence = {"symptom": "x", "severity": 0.5, "evidence": {"coverage": 0.25}, "since": 1, "confidence": 1.0}
    write(path, line(1, {"coverage": 0.5}), line(2, {}, health={"findings": [evidence]}), line(3, {"coverage": 0.75}))
    values = columns_of(path).read(["coverage"])["coverage"].values
    assert list(values)[::2] == [0.5, 0.75]
    assert math.isnan(values[1])


def test_numbers_that_are_not_finite_or_not_numbers(path: Path) -> None:
    texts: list[object] = ["nan", "inf", "-inf", None, True, "many", [1], 1e-12, -3]
    write(path, *(line(step, {"loss_d": text}) for step, text in enumerate(texts)))
    values = columns_of(path).read(["loss_d"])["loss_d"].values
    assert [repr(value) for value in values] == ["nan", "inf", "-inf", "nan", "nan", "nan", "nan", "1e-12", "-3.0"]


def test_a_loss_that_is_not_finite_in_part(path: Path) -> None:
    statistics = {"mean": "nan", "min": 0.5, "max": "inf", "last": "nan"}
    write(path, line(1, {}, loss={"generator.total": statistics}), line(2, {}, loss={"generator.total": {"mean": 1.5}}))
    column = columns_of(path).read(["generator.total"])["generator.total"]
    assert math.isnan(column.values[0])
    assert column.values[1] == 1.5


def test_the_last_signal_the_reward_and_names_with_quotes(path: Path) -> None:
    own = {'a "name"': 2.0, "zeta": 3.0}
    write(path, {**line(1, {}), "signals": own, "reward": -0.5}, {**line(2, {}), "signals": own, "reward": None})
    columns = columns_of(path)
    assert columns.names() == ['a "name"', "zeta", "reward"]
    read = columns.read(['a "name"', "zeta", "reward"])
    assert list(read['a "name"'].values) == [2.0, 2.0]
    assert list(read["zeta"].values) == [3.0, 3.0]
    assert read["reward"].values[0] == -0.5
    assert math.isnan(read["reward"].values[1])


def test_lines_of_another_form_have_the_same_numbers(path: Path) -> None:
    write(path, line(1, {"loss_g": 1.0}))
    with path.open("a") as file:
        file.write(json.dumps(line(2, {"loss_g": 2.0}), separators=(",", ":")) + "\n")
    write(path, line(3, {"loss_g": 3.0}), mode="a")
    assert list(columns_of(path).read(["loss_g"])["loss_g"].values) == [1.0, 2.0, 3.0]


def test_columns_grow_with_the_log_and_are_cut_by_a_resume(path: Path) -> None:
    write(path, *(line(step, {"loss_g": float(step)}) for step in (1, 2, 3)))
    log = LiveLog(path)
    log.refresh()
    columns = ReadingColumns(log)
    assert list(columns.read(["loss_g"])["loss_g"].values) == [1, 2, 3]
    write(path, line(4, {"loss_g": 4.0, "coverage": 0.5}), mode="a")
    log.refresh()
    assert list(columns.read(["loss_g"])["loss_g"].values) == [1, 2, 3, 4]
    assert columns.names() == ["loss_g", "coverage"]
    write(path, {"event": "resumed", "step": 2, "images": 2}, line(3, {"loss_g": 30.0}), mode="a")
    log.refresh()
    assert list(columns.read(["loss_g"])["loss_g"].values) == [1, 2, 30]
    assert columns.size_in_memory == 3 * 8
