"""`equipoise sample --samples` and `--plane`: samples by number, by file and between seeds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import equipoise
from equipoise.errors import SettingError
from equipoise.inference.latent_plane import seed_at, select_plane
from equipoise.inference.latent_space import SampleId, slerp
from equipoise.inference.spaces import SpaceW, SpaceZ
from equipoise.inference.style_files import encode_latents, encode_styles, read_latents


def array(call: Callable[..., tuple[int, str, str]], run: Path, *words: object) -> np.ndarray:
    code, _, err = call("sample", run, *words, "--out", "out.npy", "--force")
    assert code == 0, err
    return np.load("out.npy")


@pytest.mark.parametrize("run", ["trained", "styled_run", "captioned_run"])
def test_samples_by_number_are_those_of_the_grid(call, run: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(run)
    first, other = (array(call, folder, "--count", 20, "--seed", seed) for seed in (0, 5))
    selected = array(call, folder, "--samples", "3,17,5/2")
    assert np.array_equal(selected, np.stack([first[3], first[17], other[2]]))
    assert np.array_equal(array(call, folder, "--samples", "2", "--seed", 5), other[2:3])


def test_samples_of_one_class(call, trained: Path) -> None:
    assert np.array_equal(
        array(call, trained, "--samples", "3", "--label", 7), array(call, trained, "--count", 4, "--label", 7)[3:]
    )


@pytest.mark.parametrize("run", ["trained", "styled_run", "captioned_run"])
def test_a_file_of_a_latent(call, run: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(run)
    generator = equipoise.load(folder)
    selected = SpaceZ(generator).select([SampleId(2, 9)])
    Path("z.safetensors").write_bytes(encode_latents(selected.latents, selected.labels, generator))
    expected = array(call, folder, "--samples", "2/9,4")
    assert np.array_equal(array(call, folder, "--samples", "z.safetensors,4"), expected)
    strip = call("interpolate", folder, "--space", "z", "--from", "z.safetensors", "--to", "4", "--out", "s.npy")
    assert strip[0] == 0, strip[2]
    assert np.array_equal(np.load("s.npy")[0, 0], expected[0])


def test_a_file_of_styles(call, styled_run: Path) -> None:
    generator = equipoise.load(styled_run)
    styles = SpaceW(generator).select([SampleId(2, 9)]).latents
    for ending in (".npz", ".safetensors"):
        Path(f"w{ending}").write_bytes(encode_styles(styles, generator, ending))
        expected = array(call, styled_run, "--samples", "2/9,4")
        assert np.array_equal(array(call, styled_run, "--samples", f"w{ending},4"), expected)


def test_files_of_latents_of_others(call, trained: Path, styled_run: Path) -> None:
    generator = equipoise.load(trained, 5)
    path = Path("z.safetensors")
    path.write_bytes(encode_latents(generator.latents(1), generator.labels(1), generator))
    with pytest.raises(SettingError, match=r"latents of another model or step; use the run and the step that wrote"):
        read_latents(path, equipoise.load(trained, 10))
    for run, words in ((trained, ()), (styled_run, ()), (styled_run, ("--space", "w"))):
        code, _, err = call("sample", run, "--samples", path, *words, "--out", "x.png")
        assert (code, err.count("\n")) == (2, 1)
        assert "z.safetensors holds" in err
    assert not Path("x.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--samples x", "--samples takes sample numbers"),
        ("--samples 3 --count 4", "--samples selects the samples, so --count has no effect"),
        ("--samples 3 --plane 1,2", "--samples selects the samples, so --plane has no effect"),
        ("--samples 3 --label all", "--samples selects the samples, which --label all would sort"),
        ("--samples missing.safetensors", "there is no file missing.safetensors"),
        ("--samples 100000", "sample number 100000 does not exist"),
        ("--plane 1", "--plane takes two numbers, such as 3.5,1, not '1'"),
        ("--plane 1e9,0", "coordinates must be within"),
        ("--plane nan,0", "coordinates must be within"),
        ("--plane 0,0 --space w", "dcgan has no styles"),
        ("--space z", "--space is the space between points, for --plane"),
    ],
)
def test_invalid_selections(call, trained: Path, tmp_path: Path, words: str, message: str) -> None:
    code, out, err = call("sample", trained, *words.split(), "--out", "x.png")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_points_of_the_plane(call, trained: Path, styled_run: Path) -> None:
    assert [seed_at(3, 0), seed_at(3, 2), seed_at(0, -1)] == [3, 203, 2**32 - 100]
    points = array(call, trained, "--plane", "3,2", "--plane=-0.5,0")
    assert np.array_equal(points[0], array(call, trained, "--seed", 203, "--count", 1)[0])
    generator = equipoise.load(trained)
    a, b = (generator.latents(1, seed=seed) for seed in (2**32 - 1, 0))
    between = generator.generate(slerp(a, b, 0.5), generator.labels(1)).numpy()
    assert np.array_equal(points[1], between[0])
    styled = equipoise.load(styled_run)
    w = SpaceW(styled)
    corners = w.select([SampleId(seed, 0) for seed in (1, 2, 101, 102)]).latents
    middle = select_plane(w, [(1.5, 0.5)]).latents
    assert torch.allclose(middle[0], corners.mean(dim=0), atol=1e-6), "W is linear"
