"""Logs of StyleGAN 1 to 3: statistics, ticks and metrics by images."""

import json
from pathlib import Path

import pytest

from equipoise.diagnosis import readers
from equipoise.diagnosis.logs.training_log import TrainingLog
from equipoise.errors import DataError


def statistics(tick: int) -> str:
    numbers = {
        "Loss/G/loss": 0.8 + tick,
        "Loss/D/loss": 1.2,
        "Loss/scores/real": 0.5,
        "Loss/scores/fake": -0.5,
        "Loss/signs/real": 0.4,
        "Loss/signs/fake": -0.3,
        "Progress/kimg": 4.0 * tick,
        "Progress/augment": 0.01 * tick,
        "Timing/total_sec": 9.0,
    }
    return json.dumps(
        {name: {"num": 9, "mean": mean, "std": 0.1} for name, mean in numbers.items()} | {"timestamp": 1.0}
    )


STATS = "".join(statistics(tick) + "\n" for tick in range(3))
METRIC = '{"results": {"fid50k_full": 31.5}, "metric": "fid50k_full", "snapshot_pkl": "network-snapshot-000008.pkl"}\n'
TICK = "tick 2     kimg 8.1      time 45s  sec/tick 10.3  sec/kimg 3.0  maintenance 0.1  gpumem 3.0  augment 0.125\n"


def write_log(folder: Path, text: str, name: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def values(log: TrainingLog, name: str) -> list[tuple[int, float]]:
    column = log.signals[name] if name in log.signals else log.metrics[name].series
    return list(zip(column.steps.tolist(), column.values.tolist(), strict=True))


def test_statistics_with_the_metrics_next_to_them(tmp_path: Path) -> None:
    path = write_log(tmp_path, STATS, "stats.jsonl")
    write_log(tmp_path, METRIC, "metric-fid50k_full.jsonl")
    write_log(tmp_path, '{"total_kimg": 25000}', "training_options.json")
    for location in (path, tmp_path):
        log = readers.read_log(location)
        assert values(log, "loss_g") == [(0, 0.8), (4000, 1.8), (8000, 2.8)]
        assert values(log, "sign_real") == [(0, 0.4), (4000, 0.4), (8000, 0.4)]
        assert {"sign_fake", "logit_real", "logit_fake", "augment_p"} <= log.signals.keys()
        assert values(log, "fid50k_full") == [(8000, 31.5)]
        assert (log.unit, log.total) == ("image", 25_000_000)


def test_metrics_alone(tmp_path: Path) -> None:
    later = METRIC.replace("000008", "000012").replace("31.5", "NaN")
    log = readers.read_log(write_log(tmp_path, METRIC + later, "metric-fid50k_full.jsonl"))
    assert [step for step, _ in values(log, "fid50k_full")] == [8000, 12000]
    assert log.unit == "image"


def test_log_text_with_ticks_augmentation_and_metrics(tmp_path: Path) -> None:
    log = readers.read_log(write_log(tmp_path, f"Training duration: 100 kimg\n\n{TICK}{METRIC}", "log.txt"))
    assert values(log, "fid50k_full") == [(8000, 31.5)]
    assert values(log, "augment_p") == [(8100, 0.125)]
    assert log.total == 100_000


def test_log_text_of_the_first_two_versions(tmp_path: Path) -> None:
    ticks = "tick 0     kimg 0.1      lod 0.00  minibatch 32   time 45s    sec/tick 10.3\n"
    metric = "network-snapshot-000012        time 8m 02s      fid50k   34.75\n"
    log = readers.read_log(write_log(tmp_path, ticks + metric, "log.txt"))
    assert values(log, "fid50k") == [(12000, 34.75)]
    with pytest.raises(DataError, match=r"log\.txt"):
        readers.read_log(write_log(tmp_path, ticks, "log.txt"))


def test_statistics_without_images_are_an_error(tmp_path: Path) -> None:
    text = STATS.replace('"mean": 0.0', '"mean": null').replace('"mean": 4.0', '"mean": null')
    text = text.replace('"mean": 8.0', '"mean": null')
    with pytest.raises(DataError, match="no line has a number for Progress/kimg"):
        readers.read_log(write_log(tmp_path, text, "stats.jsonl"))


def test_damaged_statistics_are_counted(tmp_path: Path) -> None:
    log = readers.read_log(write_log(tmp_path, f"{STATS}{statistics(3)[:200]}", "stats.jsonl"))
    assert len(log.signals["loss_d"].steps) == 3
    assert "1 line with a damaged or truncated record was skipped." in log.notes
