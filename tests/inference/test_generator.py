"""Sampling: sample k of a seed at every count, and classes by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import equipoise
from equipoise import load
from equipoise.core.data import DataSpec
from equipoise.core.tokens import Vocabulary
from equipoise.errors import SettingError, UnknownNameError

IMAGES = DataSpec((1, 16, 16), classes=3, class_names=("cat", "dog", "2"))
GENERATORS = {
    "mlp": ("mlp", None, {"width": 4}),
    "dcgan": ("dcgan", IMAGES, {"width": 4}),
    "seqgan": ("seqgan", DataSpec((5,), vocabulary=Vocabulary(("a", "b", "c"), "")), {"hidden": 8}),
}


@pytest.mark.parametrize("model", GENERATORS)
@pytest.mark.parametrize("truncation", [None, 0.5])
def test_sample_k_is_the_same_at_every_count(generator, model: str, truncation: float | None) -> None:
    name, spec, options = GENERATORS[model]
    drawn = generator(name, spec, **options)
    many = drawn.sample(150, seed=3, truncation=truncation)
    for count in (1, 4, 15, 16, 17, 64, 65, 100):
        few = drawn.sample(count, seed=3, truncation=truncation)
        assert few.shape[0] == count
        assert torch.equal(few, many[:count]), count
    if drawn.model.num_classes:
        assert torch.equal(drawn.labels(4), drawn.labels(150)[:4])


def test_sample_k_does_not_depend_on_how_a_model_draws(generator) -> None:
    """A model that draws two parts of its latents one after the other."""
    drawn = generator("mlp", None, width=4)

    def latent(count: int, source: torch.Generator, truncation: float | None) -> torch.Tensor:
        first, second = torch.rand(count, 3, generator=source), torch.randn(count, 5, generator=source)
        return torch.cat([first, second], dim=1)

    object.__setattr__(drawn.model, "latent", latent)
    assert torch.equal(drawn.latents(200)[:7], drawn.latents(7))


def test_first_samples_of_a_file_are_equal_to_the_byte(call, trained: Path) -> None:
    for count in (4, 300):
        assert call("sample", trained, "--count", count, "--out", f"{count}.npy")[0] == 0
        assert call("sample", trained, "--count", count, "--label", "all", "--out", f"all{count}")[0] == 0
    few, many = (np.load(f"{count}.npy", allow_pickle=False) for count in (4, 300))
    assert few.tobytes() == many[:4].tobytes()
    files = sorted(path.relative_to("all4") for path in Path("all4").rglob("*.png"))
    assert [str(path) for path in files] == [f"{k}/{k:06d}.png" for k in range(4)]
    for path in files:
        assert (Path("all4") / path).read_bytes() == (Path("all300") / path).read_bytes()


def test_classes_by_name_and_number(generator) -> None:
    drawn = generator("dcgan", IMAGES, width=4)
    for label, number in (("cat", 0), ("dog", 1), (1, 1), ("1", 1), ("2", 2), (0, 0)):
        assert drawn.labels(2, label).tolist() == [number] * 2
    assert drawn.class_folders(4) == ["cat", "dog", "2", "cat"]
    with pytest.raises(UnknownNameError, match="there is no class 'cta'; did you mean 'cat'"):
        drawn.labels(2, "cta")
    for label in (3, "3", -1, "-1"):
        with pytest.raises(SettingError, match=rf"label {label} does not exist; labels are 0 to 2: cat, dog, 2$"):
            drawn.labels(2, label)
    unnamed = generator("dcgan", DataSpec((1, 16, 16), classes=2), width=4)
    with pytest.raises(SettingError, match="have no names; use a number from 0 to 1"):
        unnamed.labels(1, "cat")
    with pytest.raises(SettingError, match="without labels"):
        generator("mlp").class_folders(1)


def test_names_of_classes_never_lead_out_of_the_folder(generator) -> None:
    names = ("../up", "/root", "", "a\nb")
    drawn = generator("dcgan", DataSpec((1, 16, 16), classes=4, class_names=names), width=4)
    assert drawn.class_folders(4) == ["__up", "_root", "_", "a_b"]


def test_one_sample_is_one_picture(call, trained: Path) -> None:
    assert call("sample", trained, "--count", 1, "--out", "a.png", "--label", "3")[:2] == (0, "1 sample: a.png\n")
    with Image.open("a.png") as picture:
        assert picture.size == (16, 16)
    assert call("sample", trained, "--count", 1, "--out", "a.csv")[0] == 0
    assert np.loadtxt("a.csv", delimiter=",").shape == (16, 16)


def test_folders_are_checked_before_anything_is_written(call, trained: Path) -> None:
    Path("out").mkdir()
    (Path("out") / "note.txt").write_text("mine")
    assert call("sample", trained, "--count", 2, "--out", "out")[0] == 0
    (Path("out") / "000000.png").unlink()
    (Path("out") / "000001.png").write_bytes(b"mine")
    code, out, err = call("sample", trained, "--count", 3, "--out", "out")
    assert (code, out) == (2, "")
    assert err == "equipoise: out/000001.png exists already; choose another --out, or replace with --force\n"
    assert sorted(path.name for path in Path("out").iterdir()) == ["000001.png", "note.txt"]
    assert call("sample", trained, "--count", 3, "--out", "out", "--force")[0] == 0


def test_load_takes_strings(trained: Path) -> None:
    assert equipoise.load(str(trained)).step == equipoise.load(trained, "last").step == 12


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": "2"}, "count = '2': it must be a whole number, not a string"),
        ({"count": True}, "count = True: it must be a whole number, not true or false"),
        ({"count": 2.0}, "count = 2.0: it must be a whole number, not a decimal number"),
        ({"count": 2, "seed": 1.5}, "seed = 1.5: it must be a whole number"),
        ({"count": 2, "truncation": "1"}, "truncation = '1': it must be a number, not a string"),
    ],
)
def test_wrong_types_name_the_argument(trained: Path, values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        load(trained).sample(**values)


def test_more_samples_than_fit_into_memory_are_refused(trained: Path) -> None:
    with pytest.raises(SettingError, match=r"count = 1,000,000,000 needs at least .* of memory, .* --count \d+"):
        load(trained).sample(10**9)


def test_numbers_of_numpy_are_accepted(trained: Path) -> None:
    generator = load(str(trained), np.int64(12))
    assert torch.equal(
        generator.sample(np.int64(2), seed=np.uint8(3), truncation=np.float32(0.5), label=np.int64(3)),
        generator.sample(2, seed=3, truncation=0.5, label=3),
    )


@pytest.mark.parametrize("folder", [b"run", None, 3])
def test_folder_of_another_type_is_refused(folder: Any) -> None:
    with pytest.raises(SettingError, match="the run folder must be a string or a Path, not"):
        load(folder)


@pytest.mark.parametrize(("step", "words"), [("x", "there is no step 'x'"), (1.5, "step = 1.5"), ([1], "not a list")])
def test_step_of_another_type_is_refused(trained: Path, step: Any, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        load(trained, step)
