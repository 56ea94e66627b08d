"""Styles: samples of styles, mixing, statistics, principal components, the spaces Z and W, and files of styles."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.sampling import Sampling
from equipoise.errors import DataError, SettingError
from equipoise.inference import style_files, style_space
from equipoise.inference.generator import Generator
from equipoise.inference.latent_space import SampleId, generate_strip, interpolation_path
from equipoise.inference.spaces import SpaceW, SpaceZ, open_space

IDS = [SampleId(0, 3), SampleId(5, 1), SampleId(0, 17)]
LAYERS = 6


@pytest.fixture(scope="module")
def styled(generator) -> Generator:
    """An untrained generator of 16 x 16 pixels with labels: six styles of eight numbers, and a mean style."""
    result = generator("stylegan2", DataSpec((1, 16, 16), classes=3), width=4, latent_dim=8)
    result.networks["generator"].requires_grad_(False)
    result.networks["generator"].mapping.w_avg.copy_(normal(8, seed=4) * 0.2)
    for index in range(LAYERS - 1):
        result.networks["generator"].synthesis.layers[index].noise_strength.fill_(0.3)
    return result


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Samples of styles.


@pytest.mark.parametrize("name", ["stylegan", "stylegan3"])
def test_every_model_with_styles_has_the_same_interface(generator, name: str) -> None:
    model = generator(name, DataSpec((1, 16, 16)), width=4, latent_dim=8)
    count, latents = model.count_layers(), model.latents(3)
    expected = (3, count, *model.model.styles.mean(model.networks).shape)
    for sampling in (Sampling(), Sampling(psi=0.5, cutoff=count)):
        styles = style_space.map_to_styles(model, latents, None, sampling)
        assert styles.shape == expected
        assert torch.equal(style_space.synthesize(model, styles, sampling), model.generate(latents, None, sampling))


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(psi=0.5, cutoff=2), Sampling(noise="none")])
def test_samples_of_styles_are_those_of_the_latents(styled: Generator, sampling: Sampling) -> None:
    latents, labels = styled.latents(5), styled.labels(5)
    styles = style_space.map_to_styles(styled, latents, labels, sampling)
    assert styles.shape == (5, LAYERS, 8)
    expected = styled.generate(latents, labels, sampling)
    assert torch.equal(style_space.synthesize(styled, styles, sampling), expected)
    alone = style_space.synthesize(styled, styles[3:4], sampling)
    assert torch.equal(alone, expected[3:4]), "whatever it is computed with"


def test_psi_moves_styles_to_their_mean(styled: Generator) -> None:
    latents, labels = styled.latents(4), styled.labels(4)
    free, half = (style_space.map_to_styles(styled, latents, labels, Sampling(psi=psi)) for psi in (1.0, 0.5))
    mean = styled.networks["generator"].mapping.w_avg
    torch.testing.assert_close(half, mean + 0.5 * (free - mean))
    mirrored = style_space.map_to_styles(styled, latents, labels, Sampling(psi=-1.0))
    torch.testing.assert_close(mirrored, 2 * mean - free)
    means = styled.sample(4, sampling=Sampling(psi=0.0))
    assert torch.equal(means, means[:1].expand(4, -1, -1, -1))


def test_noise_none_turns_noise_off(styled: Generator) -> None:
    fixed, none = (styled.sample(2, sampling=Sampling(noise=noise)) for noise in ("fixed", "none"))
    assert torch.equal(fixed, styled.sample(2))
    assert not torch.equal(fixed, none)


def test_options_without_effect_are_errors(styled: Generator, generator) -> None:
    plain = generator("dcgan", DataSpec((1, 16, 16)), width=4, latent_dim=6)
    for model, sampling, message in (
        (plain, Sampling(psi=0.5), "psi has no effect in dcgan; dcgan has: truncation"),
        (plain, Sampling(noise="none"), "noise has no effect in dcgan"),
        (styled, Sampling(truncation=1.0), "truncation has no effect in stylegan2"),
        (styled, Sampling(cutoff=2), "cutoff has no effect without psi"),
        (styled, Sampling(psi=0.5, cutoff=7), "cutoff = 7: stylegan2 has 6 layers with a style"),
    ):
        for use in (lambda model, sampling: model.sample(2, sampling=sampling), lambda m, s: open_space(m, None, s)):
            with pytest.raises(SettingError, match=f"^{message}"):
                use(model, sampling)
    assert styled.sample(2, sampling=Sampling(psi=0.5, cutoff=6)).shape == (2, 1, 16, 16)


def test_model_without_styles_and_styles_of_another_model(styled: Generator, generator) -> None:
    plain = generator("dcgan", DataSpec((1, 16, 16)), width=4, latent_dim=6)
    with pytest.raises(SettingError, match=r"^dcgan has no styles, because it has no mapping network; use a run of"):
        SpaceW(plain)
    with pytest.raises(SettingError, match=r"^these styles are 5 x 8, of another model: stylegan2 has 6 x 8"):
        style_space.synthesize(styled, torch.zeros(1, 5, 8))


# Style mixing.


def test_mixing_takes_layers_of_the_row_and_the_others_of_the_column() -> None:
    rows, columns = normal(2, 5, 3), normal(4, 5, 3, seed=1)
    mixed = style_space.mix_styles(rows, columns, range(1, 3))
    assert mixed.shape == (2, 4, 5, 3)
    for row in range(2):
        for column in range(4):
            for layer in range(5):
                source = rows[row] if layer in (1, 2) else columns[column]
                assert torch.equal(mixed[row, column, layer], source[layer])


def test_mixing_all_layers_or_a_sample_with_itself_changes_nothing() -> None:
    rows, columns = normal(2, 5, 3), normal(2, 5, 3, seed=1)
    assert torch.equal(style_space.mix_styles(rows, columns, range(5)), rows[:, None].expand(-1, 2, -1, -1))
    same = style_space.mix_styles(rows, rows, range(2))
    assert torch.equal(torch.stack([same[0, 0], same[1, 1]]), rows)


@pytest.mark.parametrize(
    ("first", "last", "message"), [(0, 6, "has layers 0 to 5"), (6, 6, "0 to 5"), (3, 2, "the first is after the last")]
)
def test_layers_that_do_not_exist(first: int, last: int, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        style_space.layer_range(first, last, 6)
    assert list(style_space.layer_range(2, 5, 6)) == [2, 3, 4, 5]


# Statistics and directions.


def test_statistics_are_those_of_the_styles() -> None:
    styles = normal(4000, 3) * torch.tensor([1.0, 2.0, 0.5]) + torch.tensor([3.0, 0.0, -1.0])
    result = style_space.measure_styles(styles)
    torch.testing.assert_close(result.mean, styles.mean(0))
    torch.testing.assert_close(result.spread, styles.std(0, correction=0))
    assert result.deviation == pytest.approx(math.sqrt(1 + 4 + 0.25), rel=0.02)


def test_directions_are_principal_components() -> None:
    """Styles with known axes: compared with a singular value decomposition, and with the axes."""
    axes = torch.linalg.qr(normal(5, 5, seed=3))[0]
    styles = (normal(3000, 5) * torch.tensor([4.0, 2.0, 1.0, 0.5, 0.1])) @ axes + 7
    result = style_space.find_directions(styles, 3)
    _, sizes, vectors = torch.linalg.svd((styles - styles.mean(0)).double(), full_matrices=False)
    torch.testing.assert_close(result.deviations.double(), (sizes / math.sqrt(3000))[:3], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(result.shares.double(), sizes[:3].square() / sizes.square().sum(), rtol=1e-5, atol=1e-6)
    cosines = (result.directions.double() * vectors[:3]).sum(1).abs()
    torch.testing.assert_close(cosines, torch.ones(3, dtype=torch.double), rtol=0, atol=1e-6)
    assert bool(((result.directions @ axes.T)[[0, 1, 2], [0, 1, 2]].abs() > 0.99).all())
    largest = result.directions.gather(1, result.directions.abs().argmax(1, keepdim=True))
    assert bool((largest > 0).all())


def test_strips_move_along_directions_in_some_layers() -> None:
    styles, points = normal(4, 5), normal(100, 5, seed=1)
    directions = style_space.find_directions(points, 2)
    moved = style_space.move_along(styles, directions, 5, 3.0, range(1, 3))
    assert moved.shape == (2, 5, 4, 5)
    torch.testing.assert_close(moved[:, 2], styles.expand(2, -1, -1))
    assert torch.equal(moved[..., [0, 3], :], styles[[0, 3]].expand(2, 5, -1, -1))
    for number in range(2):
        change = moved[number, -1, 1] - styles[1]
        torch.testing.assert_close(change, 3 * directions.deviations[number] * directions.directions[number])
        torch.testing.assert_close(moved[number, 0, 2] - styles[2], -change)
    with pytest.raises(SettingError, match="steps = 1"):
        style_space.move_along(styles, directions, 1, 3.0)
    with pytest.raises(SettingError, match="components = 6: it must be from 1 to 5"):
        style_space.find_directions(points, 6)


# The spaces.


def test_space_depends_on_the_model(styled: Generator, generator) -> None:
    plain = generator("dcgan", DataSpec((1, 16, 16)), width=4, latent_dim=6)
    assert [open_space(styled).name, open_space(plain).name, open_space(styled, "z").name] == ["w", "z", "z"]
    assert [open_space(styled).interpolation, open_space(plain).interpolation] == ["linear", "spherical"]
    with pytest.raises(SettingError, match="space 'x' does not exist"):
        open_space(plain, "x")  # type: ignore[arg-type]


@pytest.mark.parametrize("space", [SpaceZ, SpaceW])
def test_selected_samples_are_those_of_the_generator(styled: Generator, space: type) -> None:
    sampling = Sampling(psi=0.7)
    for label in (None, 1):
        opened = space(styled, sampling)
        selected = opened.select(IDS, label)
        samples = opened.generate(selected.latents, selected.labels)
        for sample, sample_id in zip(samples, IDS, strict=True):
            expected = styled.sample(sample_id.number + 1, seed=sample_id.seed, label=label, sampling=sampling)
            assert torch.equal(sample, expected[-1])


def test_strip_in_w_has_the_samples_of_its_path(styled: Generator) -> None:
    space = SpaceW(styled)
    start, end = space.select(IDS[:2]), space.select(IDS[1:])
    strip = generate_strip(space, start, end, 4, space.interpolation)
    assert strip.shape == (2, 4, 1, 16, 16)
    path = interpolation_path(start.latents, end.latents, 4, "linear")
    assert torch.equal(strip[:, 2], style_space.synthesize(styled, path[2]))


def test_sums_of_styles_do_not_depend_on_the_origin(styled: Generator) -> None:
    space, mean = SpaceW(styled), styled.networks["generator"].mapping.w_avg
    a, b, c = (normal(3, LAYERS, 8, seed=seed) for seed in range(3))
    torch.testing.assert_close(space.combine([a, c], [b]), a.mean(0) - b.mean(0) + c.mean(0))
    torch.testing.assert_close(space.combine([a], [a]), mean.expand(LAYERS, -1))
    torch.testing.assert_close(space.combine([a], []), a.mean(0))
    half = Sampling(psi=0.5)
    selected, moved = SpaceW(styled).select(IDS).latents, SpaceW(styled, half).select(IDS).latents
    torch.testing.assert_close(
        space.combine([moved[:2]], [moved[2:]]), mean + 0.5 * (space.combine([selected[:2]], [selected[2:]]) - mean)
    )


def test_lengths_and_neighbours_in_w(styled: Generator) -> None:
    space, mean = SpaceW(styled), styled.networks["generator"].mapping.w_avg
    styles = mean + torch.tensor([3.0, 4.0, *[0.0] * 6]).expand(2, LAYERS, -1)
    torch.testing.assert_close(space.lengths(styles), torch.tensor([5.0, 5.0]))
    near = space.neighbours(styles[0], 200, torch.Generator().manual_seed(0)) - styles[0]
    assert torch.equal(near[:, 0], near[:, 3]), "the same in all layers"
    spread = style_space.measure_styles(style_space.sample_styles(styled, count=1000)).spread
    assert bool((near[:, 0].abs() <= 0.25 * spread + 1e-6).all())
    assert bool((near[:, 0].abs().amax(0) > 0.2 * spread).all())


# Files.


@pytest.mark.parametrize("ending", style_files.STYLE_ENDINGS)
def test_styles_survive_a_file(styled: Generator, tmp_path, ending: str) -> None:
    styles = normal(2, LAYERS, 8)
    path = tmp_path / f"two{ending}"
    path.write_bytes(style_files.encode_styles(styles, styled, ending))
    assert path.read_bytes() == style_files.encode_styles(styles, styled, ending)
    assert torch.equal(style_files.read_styles(path, styled), styles)
    with pytest.raises(SettingError, match=f"two{ending} holds the styles of 2 samples; use a file of one sample"):
        SpaceW(styled).select([path])
    path.write_bytes(style_files.encode_styles(styles[1:], styled, ending))
    selected = SpaceW(styled, Sampling(psi=0.5)).select([path, SampleId(0, 3)])
    assert torch.equal(selected.latents[0], styles[1]), "psi acts on samples only"
    assert len(selected.latents) == 2
    with pytest.raises(SettingError, match="which have no latent z; use --space w"):
        SpaceZ(styled).select([path])


@pytest.mark.parametrize("ending", style_files.STYLE_ENDINGS)
def test_styles_of_another_generator_are_refused(styled: Generator, generator, tmp_path, ending: str) -> None:
    path = tmp_path / f"one{ending}"
    path.write_bytes(style_files.encode_styles(normal(1, LAYERS, 8), styled, ending))
    spec = DataSpec((1, 16, 16), classes=3)
    same = generator("stylegan2", spec, width=4, latent_dim=8)
    with pytest.raises(SettingError, match=r"holds styles of other weights of this model, which mean nothing"):
        style_files.read_styles(path, same)
    renamed = dataclasses.replace(styled, model=dataclasses.replace(styled.model, name="stylegan9"))
    with pytest.raises(SettingError, match=r"holds styles of the model stylegan2"):
        style_files.read_styles(path, renamed)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x08" + bytes(40), b"{}"])
@pytest.mark.parametrize("ending", style_files.STYLE_ENDINGS)
def test_other_files_are_refused(styled: Generator, tmp_path, ending: str, content: bytes) -> None:
    path = tmp_path / f"x{ending}"
    with pytest.raises(DataError, match="there is no file"):
        style_files.read_styles(path, styled)
    path.write_bytes(content)
    with pytest.raises(DataError, match="is not a file of styles"):
        style_files.read_styles(path, styled)


def test_pickles_are_not_read(styled: Generator, tmp_path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, styles=np.array([object()]), about=np.array("{}"))
    with pytest.raises(DataError, match="is not a file of styles"):
        style_files.read_styles(path, styled)


def test_files_of_directions(styled: Generator, tmp_path) -> None:
    directions = style_space.find_directions(normal(50, 8), 3)
    table = style_files.encode_directions(directions, styled, ".csv").decode().splitlines()
    assert table[0] == "component,deviation,share,w0,w1,w2,w3,w4,w5,w6,w7"
    values = [float(value) for value in table[2].split(",")]
    assert values[0] == 2
    torch.testing.assert_close(torch.tensor(values[3:]), directions.directions[1])
    for ending in (".npz", ".safetensors"):
        path = tmp_path / f"d{ending}"
        path.write_bytes(style_files.encode_directions(directions, styled, ending))
        tensors = load_file(path) if ending == ".safetensors" else dict(np.load(path, allow_pickle=False))
        assert tensors.keys() - {"about"} == {"mean", "directions", "deviations", "shares"}
        np.testing.assert_array_equal(tensors["directions"], directions.directions)
