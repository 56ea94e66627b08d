"""Samples of a model that takes captions: prompts on the command line and in Python, and exports."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise.errors import SettingError
from equipoise.experiment.files import parse_experiment
from equipoise.inference.export import export
from equipoise.inference.generator import load
from equipoise.runs.run import Run


def test_model_that_needs_captions_chooses_them(captioned_run: Path) -> None:
    experiment = parse_experiment(Run(captioned_run).experiment(), "run")
    assert experiment.data is not None
    assert experiment.data.options["captions"] is True


def test_several_prompts_are_rows(call, captioned_run: Path, working_directory: Path) -> None:
    words = ("--prompt", "red apple", "--prompt", "face", "--prompt", "green heart", "--count", 4)
    code, out, err = call("sample", captioned_run, *words, "--out", "a.png")
    assert (code, out, err) == (0, "12 samples: a.png\n", "")
    with Image.open("a.png") as grid:
        assert grid.size == (4 * 18 - 2, 3 * 18 - 2)
    assert call("sample", captioned_run, *words, "--out", "folder")[0] == 0
    assert sorted(path.name for path in (working_directory / "folder").iterdir()) == [
        "face",
        "green-heart",
        "red-apple",
    ]
    assert len(list((working_directory / "folder").rglob("*.png"))) == 12


def test_prompt_equals_the_one_in_python(call, captioned_run: Path) -> None:
    assert call("sample", captioned_run, "--prompt", "Red  apple", "--count", 3, "--out", "a.npy")[0] == 0
    generator = load(captioned_run)
    samples = generator.sample(3, prompt="red apple").numpy()
    np.testing.assert_array_equal(np.load("a.npy"), samples)
    assert np.abs(samples - generator.sample(3, prompt="green heart").numpy()).max() > 1e-4


def test_without_a_prompt_held_out_captions_are_used_in_turn(captioned_run: Path) -> None:
    generator = load(captioned_run)
    assert generator.model.captions is not None
    each = generator.sample(2).numpy()
    for number, text in enumerate(generator.model.captions.examples[:2]):
        np.testing.assert_array_equal(each[number], generator.sample(2, prompt=text).numpy()[number])


def test_unknown_words_are_named_and_the_nearest_offered(call, captioned_run: Path) -> None:
    words = ("--prompt", "red appel", "--count", 2, "--force", "--out", "a.npy")
    warning = (
        "'appel' in the prompt 'red appel' is not a word of the training captions and was left out; did you mean "
        "'apple'?"
    )
    assert call("sample", captioned_run, *words) == (0, "2 samples: a.npy\n", f"{warning}\n")
    code, out, err = call("sample", captioned_run, *words, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"count": 2, "path": "a.npy", "warnings": [warning]}


def test_prompt_without_a_known_word_is_refused_in_one_line(error_line, captioned_run: Path) -> None:
    assert error_line("sample", captioned_run, "--prompt", "appel", "--out", "a.png") == (
        "the prompt 'appel' has no word of the 1,370 words of the training captions; did you mean 'apple'?"
    )


def test_prompt_needs_captions(error_line, styled_run: Path) -> None:
    message = "this generator was trained without captions; omit the prompt (--prompt)"
    assert error_line("sample", styled_run, "--prompt", "red apple", "--out", "a.png") == message


def test_label_of_a_model_with_captions_is_refused(error_line, captioned_run: Path) -> None:
    assert error_line("sample", captioned_run, "--label", "7", "--out", "a.png") == (
        "this generator takes captions instead of labels; use a prompt (--prompt)"
    )
    with pytest.raises(SettingError, match=r"takes captions instead of labels; omit the label \(--label\)"):
        load(captioned_run).sample(2, prompt="face", label=1)


def test_other_commands_use_held_out_captions(call, captioned_run: Path) -> None:
    assert call("interpolate", captioned_run, "--from", "0", "--to", "1", "--steps", 3, "--out", "a.png")[0] == 0


def test_export_describes_captions(captioned_run: Path, tmp_path: Path) -> None:
    assert export(captioned_run, "safetensors", tmp_path / "out").difference == 0
    description = json.loads((tmp_path / "out" / "model.json").read_text())
    caption = description["inputs"]["caption"]
    assert (caption["shape"], caption["dtype"]) == (["batch", 12], "int64")
    assert caption["words"][:2] == ["<end>", "face"]
