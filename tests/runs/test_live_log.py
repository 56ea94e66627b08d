import json
import random
from pathlib import Path

import pytest

from equipoise.runs import live_log
from equipoise.runs.live_log import LiveLog
from equipoise.runs.run import EVENTS_FILE, Run

FIXTURE = Path(__file__).parents[1] / "fixtures" / "format_1_ring"


def reading(step: int, **fields: object) -> dict[str, object]:
    return {
        "event": "sensed",
        "step": step,
        "images": 8 * step,
        "progress": step / 100,
        "seconds": step / 4,
        "loss": {"discriminator.total": {"mean": 0.5, "min": 0.25, "max": 1.5, "last": 0.75}},
        "signals": {"loss_g": 1.0 + step, "metrics": {}},
        "health": {"findings": []},
        **fields,
    }


def turn(step: int, value: float, **fields: object) -> dict[str, object]:
    line = {"event": "turned", "step": step, "images": 8 * step, "knob": "lr_d", "by": "rank", "why": 'a "reason", and'}
    return {**line, **fields, "from": 0.1, "to": value}


def started(step: int = 0) -> dict[str, object]:
    return {"event": "started", "step": step, "images": 0, "steps": 100, "knobs": {"lr_d": 0.1}}


def event(kind: str, step: int, **fields: object) -> dict[str, object]:
    return {"event": kind, "step": step, "images": 8 * step, **fields}


def write(path: Path, *lines: dict[str, object], mode: str = "w") -> None:
    with path.open(mode) as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def summary(log: LiveLog) -> dict[str, object]:
    return {
        "sensed": list(log.readings.steps),
        "turned": [(turn.step, turn.knob, turn.before, turn.after, turn.by) for turn in log.turns],
        "others": [(line["event"], line["step"]) for line in log.lines],
    }


def summary_of_run(folder: Path) -> dict[str, object]:
    """The same from the reader that parses every line."""
    lines = Run(folder).lines()
    turned = [line for line in lines if line["event"] == "turned"]
    return {
        "sensed": [line["step"] for line in lines if line["event"] == "sensed"],
        "turned": [(line["step"], line["knob"], line["from"], line["to"], line["by"]) for line in turned],
        "others": [(line["event"], line["step"]) for line in lines if line["event"] not in ("sensed", "turned")],
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / EVENTS_FILE


def test_a_log_of_a_run_is_read_like_by_the_reader_that_parses_every_line() -> None:
    log = LiveLog(FIXTURE / EVENTS_FILE)
    assert log.refresh()
    assert not log.refresh()
    assert summary(log) == summary_of_run(FIXTURE)
    assert (log.step, log.images, log.problem) == (40, 1280, "")
    last = Run(FIXTURE).lines("sensed")[-1]
    assert log.reading(-1) == last
    assert log.readings.seconds[-1] == last["seconds"]


@pytest.mark.parametrize("seed", range(20))
def test_growing_logs_with_resumes_are_read_like_by_the_reader_that_parses_every_line(seed: int, path: Path) -> None:
    numbers, log = random.Random(seed), LiveLog(path)
    path.touch()
    step = 0
    for _ in range(60):
        step += 1
        kind = numbers.choice(["sensed", "sensed", "turned", "saved", "resumed", "finished", "started", "evaluated"])
        if kind == "started" and numbers.random() < 0.7:
            kind = "sampled"
        if kind == "resumed":
            step = numbers.randint(0, step)
        lines = {"sensed": reading(step), "turned": turn(step, numbers.random()), "started": started()}
        write(path, lines.get(kind, event(kind, step)), mode="a")
        if kind == "started":
            step = 0
        if numbers.random() < 0.5:
            log.refresh()
    log.refresh()
    assert summary(log) == summary_of_run(path.parent)


def odd_text(line: dict[str, object], numbers: random.Random) -> str:
    """A line as the log writes it, or with its keys in another order, without spaces, or with other texts."""
    if line["event"] == "turned" and numbers.random() < 0.5:
        line |= {"why": 'déjà "vu" \ud83d', "to": "inf"}
    items = list(line.items())
    if numbers.random() < 0.3:
        numbers.shuffle(items)
    return json.dumps(dict(items), separators=numbers.choice([None, None, (",", ":")]))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("chunk", [200, 2**18])
def test_lines_of_any_form_are_read_like_by_the_reader_that_parses_every_line(
    seed: int, chunk: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_log, "CHUNK", chunk)
    numbers, log, step = random.Random(seed), LiveLog(path), 0
    with path.open("w") as file:
        file.write(json.dumps(started()) + "\n")
        for _ in range(80):
            step += 1
            kind = numbers.choice(["sensed", "sensed", "sensed", "turned", "turned", "saved", "resumed"])
            if kind == "resumed" and numbers.random() < 0.7:
                kind = "remedied"
            step = numbers.randint(0, step) if kind == "resumed" else step
            line = {"sensed": reading(step), "turned": turn(step, numbers.random())}.get(kind, event(kind, step))
            file.write(odd_text(dict(line), numbers) + "\n")
            if numbers.random() < 0.1:
                file.flush()
                log.refresh()
    log.refresh()
    expected = summary_of_run(path.parent)
    expected["turned"] = [(*row[:3], float(row[3]), row[4]) for row in expected["turned"]]
    assert summary(log) == expected
    assert [log.reading(row) for row in range(len(log.readings))] == Run(path.parent).lines("sensed")
    parsed = [json.loads(line) for lines in log.read_readings() for line in lines]
    assert parsed == Run(path.parent).lines("sensed")


def test_the_first_damaged_line_is_named_whatever_its_kind(path: Path) -> None:
    texts = [json.dumps(line) for line in (started(), reading(1), turn(2, 0.5), reading(3), event("saved", 3))]
    texts[2] = texts[2].replace('"step": 2', '"step": "two"')
    texts.insert(2, texts[1].replace('"images": 8', '"images": {}'))
    texts.append('{"event": "saved"}')
    path.write_text("\n".join(texts) + "\n")
    log = LiveLog(path)
    log.refresh()
    assert log.problem == "events.jsonl, line 3, is not an event; delete that line"
    assert (list(log.readings.steps), len(log.turns), [line["event"] for line in log.lines]) == (
        [1, 3],
        0,
        ["started", "saved"],
    )


def test_an_incomplete_line_is_read_when_it_is_complete(path: Path) -> None:
    write(path, started(), reading(1))
    text = json.dumps(reading(2)) + "\n"
    log = LiveLog(path)
    for end in (1, 30, len(text) - 1):
        path.write_text(json.dumps(started()) + "\n" + json.dumps(reading(1)) + "\n" + text[:end])
        log.refresh()
        assert list(log.readings.steps) == [1]
    path.write_text(json.dumps(started()) + "\n" + json.dumps(reading(1)) + "\n" + text)
    assert log.refresh()
    assert list(log.readings.steps) == [1, 2]


def test_a_log_that_became_shorter_or_another_file_is_read_again(path: Path, tmp_path: Path) -> None:
    write(path, started(), reading(1), reading(2))
    log = LiveLog(path)
    log.refresh()
    version = log.version
    write(path, started(), reading(3))
    log.refresh()
    assert list(log.readings.steps) == [3]
    write(tmp_path / "other", started(), reading(4), reading(5), reading(6))
    (tmp_path / "other").replace(path)
    log.refresh()
    assert list(log.readings.steps) == [4, 5, 6]
    assert log.version > version


def test_a_log_with_other_content_of_the_same_length_is_read_again(path: Path) -> None:
    write(path, started(), event("evaluated", 1, metric="fid", value=1.5))
    log = LiveLog(path)
    log.refresh()
    write(path, started(), event("evaluated", 1, metric="fid", value=2.5))
    write(path, reading(2), mode="a")
    log.refresh()
    assert log.events("evaluated")[0]["value"] == 2.5


def test_a_log_that_was_deleted_is_empty_and_may_come_back(path: Path) -> None:
    write(path, started(), reading(1))
    log = LiveLog(path)
    log.refresh()
    path.unlink()
    assert log.refresh()
    assert (list(log.readings.steps), log.lines, log.step) == ([], [], 0)
    assert not log.refresh()
    write(path, started(), reading(7))
    log.refresh()
    assert list(log.readings.steps) == [7]


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"event": "saved"}', '{"event": 3, "step": 1}', "\x00\xff", "12"])
def test_a_damaged_line_is_named_and_left_out(text: str, path: Path) -> None:
    write(path, started(), reading(1))
    with path.open("a") as file:
        file.write(f"{text}\n")
    write(path, reading(2), mode="a")
    log = LiveLog(path)
    log.refresh()
    assert list(log.readings.steps) == [1, 2]
    assert log.problem == "events.jsonl, line 3, is not an event; delete that line"


def test_lines_of_another_form_are_read_too(path: Path) -> None:
    write(path, started(), turn(1, 0.5, by='a "name"'))
    with path.open("a") as file:
        file.write(json.dumps(reading(2), separators=(",", ":")) + "\n")
        file.write(json.dumps(dict(reversed(reading(3).items()))) + "\n")
    log = LiveLog(path)
    log.refresh()
    assert summary(log) == summary_of_run(path.parent)
    assert log.reading(0) == reading(2)
    assert [json.loads(line) for lines in log.read_readings() for line in lines] == [reading(2), reading(3)]


def test_reasons_and_last_lines_are_parsed_from_the_file(path: Path) -> None:
    write(path, started(), turn(1, 0.5), reading(2), turn(3, 0.6, why="other"))
    log = LiveLog(path)
    log.refresh()
    assert log.reasons(log.turns) == ['a "reason", and', "other"]
    assert [line["step"] for line in log.last_lines(2)] == [2, 3]
    assert len(log.last_lines(100)) == 4


def test_a_long_log_is_read_completely(path: Path) -> None:
    template = json.dumps(reading(7)).replace('"step": 7, "images": 56', '"step": {0}, "images": {0}')
    template = template.replace("{", "{{").replace("}", "}}").replace("{{0}}", "{0}")
    count = 100_000
    with path.open("w") as file:
        file.write(json.dumps(started()) + "\n")
        file.writelines(template.format(step) + "\n" for step in range(1, count + 1))
    log = LiveLog(path)
    log.refresh()
    assert len(log.readings) == count
    assert log.readings.steps[-1] == log.step == log.images == count
    assert log.reading(54_321)["step"] == 54_322
    assert sum(len(lines) for lines in log.read_readings(99_000)) == 1000
    assert log.size_in_memory < 8 * 2**20
