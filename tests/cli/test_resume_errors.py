"""Errors of `resume`, and of other commands on damaged run folders: one line, exit code 2, and no file changed."""

import json
import shutil
from pathlib import Path

import pytest

from equipoise.cli import main as cli
from equipoise.training import checkpoint

CHECKPOINT = "checkpoints/step-00000010"


REMEDY = "delete that folder"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json"])
def test_truncated_checkpoint(error_without_changes, cut_off: Path, file: str, share: float) -> None:
    path = cut_off / CHECKPOINT / file
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    line = error_without_changes(cut_off, "resume", cut_off)
    assert f"step-00000010/{file}" in line
    assert REMEDY in line
    assert str(path.parent) in line


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json"])
def test_incomplete_checkpoint(error_without_changes, cut_off: Path, file: str) -> None:
    (cut_off / CHECKPOINT / file).unlink()
    line = error_without_changes(cut_off, "resume", cut_off)
    assert f"step-00000010/{file}" in line
    assert REMEDY in line


def test_resume_without_the_damaged_checkpoint(
    cut_off: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the damaged checkpoint is deleted, the run ends with the same weights."""
    shutil.rmtree(cut_off / CHECKPOINT)
    assert cli.run(["resume", str(cut_off)]) == 0
    assert "resuming from step 5" in capsys.readouterr().err
    assert (cut_off / "generator.safetensors").read_bytes() == (trained / "generator.safetensors").read_bytes()


def test_checkpoint_of_a_newer_version(error_without_changes, cut_off: Path) -> None:
    edit_json(cut_off / CHECKPOINT / "state.json", format=checkpoint.FORMAT + 1)
    line = error_without_changes(cut_off, "resume", cut_off)
    assert "newer" in line
    assert "upgrade equipoise" in line
    assert "delete" not in line


@pytest.mark.parametrize("key", ["pilot", "scaler", "draws", "step", "random/python", "best"])
def test_checkpoint_with_a_missing_key(error_without_changes, cut_off: Path, key: str) -> None:
    edit_json(cut_off / CHECKPOINT / "state.json", **{key: None})
    line = error_without_changes(cut_off, "resume", cut_off)
    assert "step-00000010" in line
    assert REMEDY in line


def test_checkpoint_with_other_shapes(error_without_changes, cut_off: Path) -> None:
    settings = json.loads((cut_off / "experiment.json").read_text())
    settings["model"]["options"]["width"] = 8
    (cut_off / "experiment.json").write_text(json.dumps(settings))
    line = error_without_changes(cut_off, "resume", cut_off)
    assert "step-00000010" in line
    assert "generator layers.0.weight is" in line


def edit_json(path: Path, **values: object) -> None:
    """Set keys of a JSON file; None removes a key."""
    content = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


COMMANDS = [["resume"], ["sample", "--out", "x.png"]]


for_resume_and_sample = pytest.mark.parametrize("command", COMMANDS, ids=[command[0] for command in COMMANDS])


@for_resume_and_sample
@pytest.mark.parametrize("text", ["{", "", "[]", "3", "nonsense"])
def test_experiment_file_that_is_not_json(
    error_without_changes, run_folder: Path, command: list[str], text: str
) -> None:
    (run_folder / "experiment.json").write_text(text)
    line = error_without_changes(run_folder, command[0], run_folder, *command[1:])
    assert str(run_folder / "experiment.json") in line


@for_resume_and_sample
def test_experiment_file_with_an_unknown_key(error_without_changes, run_folder: Path, command: list[str]) -> None:
    edit_json(run_folder / "experiment.json", stpes=3)
    line = error_without_changes(run_folder, command[0], run_folder, *command[1:])
    assert "'stpes' in " in line
    assert "experiment.json; did you mean 'steps'?" in line


@pytest.mark.parametrize("key", ["data", "model", "controller", "steps", "batch_size", "seed"])
def test_experiment_file_without_a_key(error_without_changes, run_folder: Path, key: str) -> None:
    edit_json(run_folder / "experiment.json", **{key: None})
    assert f"'{key}'" in error_without_changes(run_folder, "resume", run_folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": "many"}, "steps = 'many'"),
        ({"steps": 0}, "steps = 0: it must be at least 1"),
        ({"batch_size": -8}, "batch_size = -8: it must be at least 1"),
        ({"seed": -1}, "seed = -1"),
        ({"threads": -1}, "threads = -1"),
        ({"model": 7}, "model = 7"),
        ({"model": {"name": "dcgna", "options": {}}}, "did you mean 'dcgan'?"),
        ({"data": {"name": "digits", "options": {"image_size": "big"}}}, "image_size = 'big'"),
        ({"knobs": {"lr_g": 5.0}}, "lr_g = 5 is outside its range"),
        ({"knobs": {"lr_gg": 1e-3}}, "did you mean 'lr_g'?"),
        ({"precision": "fp1"}, "precision 'fp1'"),
        ({"format": 99}, "newer"),
    ],
)
def test_experiment_file_with_an_invalid_value(
    error_without_changes, run_folder: Path, values: dict[str, object], message: str
) -> None:
    edit_json(run_folder / "experiment.json", **values)
    assert message in error_without_changes(run_folder, "resume", run_folder)


@pytest.mark.parametrize(
    "text", ["{", "[]", "7", '{"event": "sensed"}', '{"step": 3}', "\x00\x00", '{"event": "x", "step": "y"}']
)
@pytest.mark.parametrize("command", ["resume", "report"])
def test_damaged_event(error_without_changes, cut_off: Path, command: str, text: str) -> None:
    lines = (cut_off / "events.jsonl").read_text().splitlines()
    lines[3] = text
    (cut_off / "events.jsonl").write_text("\n".join(lines) + "\n")
    line = error_without_changes(cut_off, command, cut_off)
    assert "events.jsonl, line 4, is not an event; delete that line" in line


def test_truncated_last_event_is_ignored(cut_off: Path, trained: Path) -> None:
    with (cut_off / "events.jsonl").open("a") as file:
        file.write('{"event": "sensed", "st')
    assert cli.run(["resume", str(cut_off)]) == 0
    assert (cut_off / "generator.safetensors").read_bytes() == (trained / "generator.safetensors").read_bytes()


def test_fewer_steps_than_completed(error_without_changes, run_folder: Path) -> None:
    line = error_without_changes(run_folder, "resume", run_folder, "--steps", "12")
    assert "--steps" in line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--batch-size", "16"), "--batch-size too; start a new run from its weights: equipoise train digits --from "),
        (("--controller", "rank"), "--controller rank"),
        (("--set", "lr_g=1e-3"), "--set lr_g=1e-3"),
        (("--no-repair",), "--no-repair"),
        (("--seconds", "3"), "--seconds 3"),
    ],
)
def test_settings_of_a_resumed_run_point_to_a_new_run(
    error_without_changes, run_folder: Path, flags: tuple[str, ...], words: str
) -> None:
    line = error_without_changes(run_folder, "resume", run_folder, *flags)
    assert "a resumed run keeps its settings" in line
    assert words in line


def test_help_of_resume_does_not_list_settings() -> None:
    out = cli.parser("resume").format_help()
    assert "--data" in out
    assert "--batch-size" not in out


def test_resume_without_checkpoints(error_without_changes, run_folder: Path) -> None:
    shutil.rmtree(run_folder / "checkpoints")
    line = error_without_changes(run_folder, "resume", run_folder)
    assert "has no checkpoint, but its log has one of step 12" in line


def test_experiment_file_with_a_text_for_a_number_names_file_and_key(error_without_changes, run_folder: Path) -> None:
    edit_json(run_folder / "experiment.json", steps="12")
    line = error_without_changes(run_folder, "resume", run_folder)
    assert "experiment.json: steps = '12': it must be a whole number, not a string" in line
