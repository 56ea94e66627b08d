"""Ways through the latent space: by formula, by geometry, by statistics; and the commands that show them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from equipoise.cli import main as cli
from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.errors import SettingError
from equipoise.inference import latent_space
from equipoise.inference.generator import Generator
from equipoise.inference.latent_space import SampleId, lerp, slerp


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def generator(model: str = "mlp", spec: DataSpec | None = None, **options: object) -> Generator:
    """One that was never trained: what it makes of a latent is as good to tell latents apart by."""
    spec = spec or DataSpec((2,))
    built = catalog.build("models", model, options).build(spec, torch.Generator().manual_seed(1))
    return Generator(built, {name: network.eval() for name, network in built.networks.items()}, spec, 0)


# How long and how wide: between two vectors.


@pytest.mark.parametrize("kind", latent_space.INTERPOLATIONS)
@pytest.mark.parametrize("dimensions", [1, 2, 64])
def test_a_way_starts_and_ends_where_it_should(kind: latent_space.Interpolation, dimensions: int) -> None:
    start, end = normal(50, dimensions), normal(50, dimensions, seed=1)
    between = latent_space.INTERPOLATIONS[kind]
    assert torch.equal(between(start, end, 0.0), start)
    torch.testing.assert_close(between(start, end, 1.0), end, rtol=0, atol=1e-7)


def test_spherical_is_shoemakes_formula() -> None:
    """Quaternions, as his are: unit vectors of four numbers, against a rotation in the plane that they span."""
    a, b = (torch.nn.functional.normalize(normal(20, 4, seed=seed).double(), dim=1) for seed in (0, 1))
    angle = torch.acos((a * b).sum(1))
    side = torch.nn.functional.normalize(b - (a * b).sum(1, keepdim=True) * a, dim=1)
    for t in (0.25, 0.5, 0.9):
        turned = torch.cos(t * angle)[:, None] * a + torch.sin(t * angle)[:, None] * side
        torch.testing.assert_close(slerp(a, b, t), turned)


def test_the_direction_turns_and_the_length_changes_evenly() -> None:
    a, b = torch.tensor([[3.0, 0.0]]).double(), torch.tensor([[0.0, 1.0]]).double()
    for t in (0.1, 0.5, 0.8):
        x, y = slerp(a, b, t)[0].tolist()
        assert math.atan2(y, x) == pytest.approx(t * math.pi / 2)
        assert math.hypot(x, y) == pytest.approx(3 - 2 * t)


def test_of_equal_lengths_it_is_whites_formula() -> None:
    """He weighs the vectors themselves by the sines: White 2016, section 2.1."""
    a, b = (5 * torch.nn.functional.normalize(normal(20, 8, seed=seed).double(), dim=1) for seed in (0, 1))
    angle = torch.acos((a * b).sum(1, keepdim=True) / 25)
    white = (torch.sin(0.7 * angle) * a + torch.sin(0.3 * angle) * b) / torch.sin(angle)
    torch.testing.assert_close(slerp(a, b, 0.3), white)


def test_parallel_vectors_are_joined_by_a_straight_way() -> None:
    a = normal(5, 6)
    for factor in (1.0, 3.0, 1 + 1e-6):
        torch.testing.assert_close(slerp(a, factor * a, 0.25), lerp(a, factor * a, 0.25))


@pytest.mark.parametrize("t", [0.0, 0.2, 0.5, 0.75, 1.0])
def test_opposite_vectors_are_joined_by_half_a_circle(t: float) -> None:
    a = normal(5, 6)
    result = slerp(a, -2 * a, t)
    torch.testing.assert_close(result.norm(dim=1), (1 + t) * a.norm(dim=1))
    cosine = torch.nn.functional.cosine_similarity(result, a)
    torch.testing.assert_close(cosine, torch.full((5,), math.cos(t * math.pi)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("off", [1e-3, 1e-6, 1e-8, 1e-12])
def test_nearly_opposite_ones_stay_within_their_lengths(off: float) -> None:
    """Where weights of 1 / sin w would throw the way far out, had the vectors not been brought to one length first."""
    a = torch.tensor([[1.0, 0.0]]).double()
    b = 0.5 * torch.tensor([[-math.cos(off), math.sin(off)]]).double()
    for t in (0.0, 0.3, 0.5, 1.0):
        result = slerp(a, b, t)
        assert float(result.norm()) == pytest.approx(1 - t / 2)
        assert math.acos(max(-1, float(result[0, 0] / result.norm()))) == pytest.approx(t * math.pi, abs=2e-3)


def test_to_and_from_zero_the_way_is_straight() -> None:
    a, zero = normal(3, 4), torch.zeros(3, 4)
    torch.testing.assert_close(slerp(a, zero, 0.25), 0.75 * a)
    torch.testing.assert_close(slerp(zero, a, 0.25), 0.25 * a)
    assert torch.equal(slerp(zero, zero, 0.5), zero)


def test_each_pair_of_a_batch_goes_its_own_way() -> None:
    """One ordinary pair, a parallel, an opposite and a zero one: the same together as alone, whatever their shape."""
    a = normal(4, 2, 3)
    b = torch.stack([normal(2, 3, seed=7), 2 * a[1], -a[2], torch.zeros(2, 3)])
    together = slerp(a, b, 0.4)
    assert together.shape == a.shape
    for row in range(4):
        assert torch.equal(slerp(a[row : row + 1], b[row : row + 1], 0.4)[0], together[row])


@pytest.mark.parametrize("t", [0.25, 0.5])
def test_spherical_keeps_the_length_of_gaussians_where_linear_shrinks_it(t: float) -> None:
    """E|z| = sqrt(2) G((d + 1) / 2) / G(d / 2) for z ~ N(0, I); (1 - t) a + t b has variance (1 - t)² + t²."""
    count, dimensions = 4000, 64
    mean = math.sqrt(2) * math.exp(math.lgamma((dimensions + 1) / 2) - math.lgamma(dimensions / 2))
    a, b = normal(count, dimensions), normal(count, dimensions, seed=1)
    standard_error = math.sqrt(0.5 / count)  # the length of a Gaussian vector has a variance of nearly 1/2
    spherical, linear = (between(a, b, t).norm(dim=1) for between in (slerp, lerp))
    assert float(spherical.mean()) == pytest.approx(mean, abs=4 * standard_error)
    assert float(linear.mean()) == pytest.approx(mean * math.sqrt((1 - t) ** 2 + t**2), abs=4 * standard_error)
    ends = torch.stack([a.norm(dim=1), b.norm(dim=1)])
    assert bool(((spherical >= ends.amin(0) - 1e-5) & (spherical <= ends.amax(0) + 1e-5)).all())


def test_a_path_has_both_ends_and_even_steps() -> None:
    start, end = normal(3, 5), normal(3, 5, seed=1)
    result = latent_space.interpolation_path(start, end, 5, "linear")
    assert result.shape == (5, 3, 5)
    assert torch.equal(result[0], start)
    assert torch.equal(result[-1], end)
    torch.testing.assert_close(result.diff(dim=0), ((end - start) / 4).expand(4, 3, 5))
    with pytest.raises(SettingError, match="steps = 1: it must be at least 2"):
        latent_space.interpolation_path(start, end, 1)


def test_a_loop_comes_back_and_shows_nothing_twice() -> None:
    stops = normal(3, 2, 4)
    result = latent_space.interpolation_loop(stops, 4, "linear")
    assert result.shape == (12, 2, 4)
    assert torch.equal(result[::4], stops)
    torch.testing.assert_close(result[11], lerp(stops[2], stops[0], 0.75))
    with pytest.raises(SettingError, match="stops = 1: it must be at least 2"):
        latent_space.interpolation_loop(stops[:1], 4)
    with pytest.raises(SettingError, match="steps = 0"):
        latent_space.interpolation_loop(stops, 0)


# Arithmetic.


def test_means_are_added_and_subtracted() -> None:
    a, b, c = (normal(count, 6, seed=count) for count in (3, 2, 4))
    expected = (a[0] + a[1] + a[2]) / 3 - (b[0] + b[1]) / 2 + (c[0] + c[1] + c[2] + c[3]) / 4
    torch.testing.assert_close(latent_space.combine_latents([a, c], [b]), expected)


def test_three_means_of_three_are_as_long_as_any_latent() -> None:
    groups = normal(2000, 3, 3, 64)
    made = torch.stack([latent_space.combine_latents([a, c], [b]) for a, b, c in groups])
    assert float(made.var()) == pytest.approx(1, abs=4 * math.sqrt(2 / made.numel()))


def test_neighbours_lie_within_a_quarter() -> None:
    latent, source = normal(64), torch.Generator().manual_seed(2)
    off = latent_space.neighbouring_latents(latent, 500, source) - latent
    assert off.shape == (500, 64)
    assert 0.249 < float(off.abs().max()) <= 0.25 + 1e-6
    assert float(off.std()) == pytest.approx(0.25 / math.sqrt(3), rel=0.02)
    assert abs(float(off.mean())) < 4 * 0.25 / math.sqrt(3 * off.numel())


# Samples by number.


@pytest.mark.parametrize("size", [2, 5, 16, 100])
@pytest.mark.parametrize("truncation", [None, 0.5])
def test_a_number_is_that_of_any_sheet(size: int, truncation: float | None) -> None:
    """Whatever else is chosen, sample 3 is sample 3 of 64, and of 128."""
    made = generator(latent_dim=size, width=8)
    numbers = [3, 63, 0, 3]
    few = latent_space.select_latents(made, [SampleId(5, number) for number in numbers], truncation=truncation)
    many = latent_space.select_latents(made, [SampleId(5, number) for number in [*numbers, 100]], truncation=truncation)
    assert few.labels is None
    assert torch.equal(few.latents, many.latents[:4])
    for count in (64, 128):
        sheet = made.sample(count, seed=5, truncation=truncation)
        torch.testing.assert_close(made.generate(few.latents, None), sheet[numbers])


def test_numbers_of_two_seeds() -> None:
    made = generator(latent_dim=16)
    result = latent_space.select_latents(made, [SampleId(1, 4), SampleId(2, 4)]).latents
    assert torch.equal(result[0], made.latents(64, seed=1)[4])
    assert torch.equal(result[1], made.latents(64, seed=2)[4])


def test_a_chosen_sample_keeps_its_class() -> None:
    made = generator("dcgan", DataSpec((1, 16, 16), classes=3), width=4, latent_dim=6)
    picks = [SampleId(0, number) for number in (4, 0, 8)]
    result = latent_space.select_latents(made, picks)
    assert result.labels is not None
    assert result.labels.tolist() == [1, 0, 2]
    torch.testing.assert_close(made.generate(result.latents, result.labels), made.sample(64)[[4, 0, 8]])
    asked = latent_space.select_latents(made, picks, label=2)
    assert asked.labels is not None
    assert asked.labels.tolist() == [2, 2, 2]


@pytest.mark.parametrize("number", [-1, 100_000])
def test_a_number_that_there_is_not(number: int) -> None:
    with pytest.raises(SettingError, match=f"there is no sample {number}; numbers run from 0 to 99,999"):
        latent_space.select_latents(generator(), [SampleId(0, number)])


def test_a_strip_is_made_of_the_samples_of_its_path() -> None:
    made = generator("dcgan", DataSpec((1, 16, 16), classes=3), width=4, latent_dim=6)
    start, end = (latent_space.select_latents(made, [SampleId(seed, 1), SampleId(seed, 2)]) for seed in (0, 9))
    strip = latent_space.generate_strip(made, start, end, 4)
    assert strip.shape == (2, 4, 1, 16, 16)
    assert start.labels is not None
    for step, latents in enumerate(latent_space.interpolation_path(start.latents, end.latents, 4)):
        torch.testing.assert_close(strip[:, step], made.generate(latents, start.labels))
    frames = list(latent_space.generate_film(made, [start, end], 3))
    assert len(frames) == 6
    torch.testing.assert_close(frames[0], strip[:, 0])
    torch.testing.assert_close(frames[3], made.generate(end.latents, start.labels))


# The commands.


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One command in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def called(*words: object) -> tuple[int, str, str]:
        code = cli.run([str(word) for word in words])
        return code, *capsys.readouterr()

    return called


def test_rows_of_samples(call, trained: Path) -> None:
    assert call("interpolate", trained, "--out", "deep/strip.png") == (
        0,
        "8 ways of 10 samples in deep/strip.png\n",
        "",
    )
    with Image.open("deep/strip.png") as strip:
        assert strip.size == (10 * 18 - 2, 8 * 18 - 2)


def test_a_row_goes_from_one_sample_to_the_other(call, trained: Path) -> None:
    words = ("--from", "3,12", "--to", "1/23,4", "--steps", 5, "--kind", "linear", "--out", "numbers.npy", "--json")
    code, out, _ = call("interpolate", trained, *words)
    told = json.loads(out)
    assert code == 0
    assert told["ways"] == [["0/3", "1/23"], ["0/12", "0/4"]]
    assert (told["kind"], told["steps"], told["path"]) == ("linear", 5, "numbers.npy")
    made = np.load("numbers.npy", allow_pickle=False)
    assert made.shape == (2, 5, 1, 16, 16)
    for seed, number, row, step in ((0, 3, 0, 0), (0, 12, 1, 0), (1, 23, 0, 4)):
        call("sample", trained, "--count", 64, "--seed", seed, "--out", "all.npy")
        expected = np.load("all.npy", allow_pickle=False)[number]
        np.testing.assert_allclose(made[row, step], expected, atol=1e-6)


def test_a_label_is_that_of_all_rows(call, trained: Path) -> None:
    for label, name in ((None, "own"), (7, "sevens")):
        flags = () if label is None else ("--label", label)
        assert call("interpolate", trained, *flags, "--out", f"{name}.npy")[0] == 0
    own, sevens = (np.load(f"{name}.npy", allow_pickle=False) for name in ("own", "sevens"))
    assert [np.allclose(a, b, atol=1e-6) for a, b in zip(own, sevens, strict=True)] == [row == 7 for row in range(8)]


def test_a_film_in_a_loop(call, trained: Path) -> None:
    from imageio_ffmpeg import count_frames_and_secs

    words = ("--rows", 4, "--stops", 3, "--steps", 5, "--out", "film.mp4", "--json")
    code, out, err = call("interpolate", trained, *words)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["frames"], told["fps"], len(told["ways"]), told["ways"][1]) == (15, 24, 4, ["0/1", "0/5", "0/9"])
    assert count_frames_and_secs("film.mp4")[0] == 15
    assert [path.name for path in Path().iterdir()] == ["film.mp4"]


def test_a_sheet_to_choose_from_and_a_sum(call, trained: Path) -> None:
    code, out, err = call(
        *("arithmetic", trained, "--show", "sheet.png", "--out", "sum.png", "--label", 4),
        *("--plus", "3,17,22", "--minus", "5,9", "--plus", "1/2"),
    )
    assert (code, err) == (0, "")
    assert out.startswith("64 samples with their numbers in sheet.png\nA − B + C in sum.png; its latent has length ")
    for name in ("sheet.png", "sum.png"):
        with Image.open(name) as picture:
            assert picture.width > 300


def test_a_sum_is_that_of_the_latents_named(call, trained: Path) -> None:
    from equipoise.inference.generator import load

    words = ("--minus", "5", "--plus", "3,17", "--out", "sum.npy", "--json")
    code, out, _ = call("arithmetic", trained, *words)
    told = json.loads(out)
    made, latents = load(trained), load(trained).latents(64)
    latent = (latents[3] + latents[17]) / 2 - latents[5]
    assert code == 0
    assert (told["formula"], told["path"]) == ("− A + B", "sum.npy")
    assert told["length"] == pytest.approx(float(latent.norm()), rel=1e-6)
    result = np.load("sum.npy", allow_pickle=False)
    assert result.shape == (9, 1, 16, 16)
    expected = made.generate(latent[None], torch.tensor([5]))  # in the class of the first sample named, number 5
    np.testing.assert_allclose(result[4], expected[0].numpy(), atol=1e-6)
    assert len({image.tobytes() for image in result}) == 9


WRONG = [
    (
        "interpolate --out s.png --from 3,x --to 4,5",
        "--from takes numbers of samples, 3,17 or 5/3 for sample 3 of seed",
    ),
    ("interpolate --out s.png --from 3 --to -4", "--to"),
    ("interpolate --out s.png --from 3", "--from names 1 samples and --to 0; give as many to both"),
    ("interpolate --out s.png --from 3,4 --to 5", "--from names 2 samples and --to 1; give as many to both"),
    ("interpolate --out s.png --from 3 --to 4 --rows 2", "leave out --rows and --stops"),
    ("interpolate --out s.png --from 3 --to 100000", "there is no sample 100000; numbers run from 0 to 99,999"),
    ("interpolate --out s.png --steps 1", "steps = 1: it must be at least 2"),
    ("interpolate --out s.png --rows 0", "rows = 0: it must be at least 1"),
    ("interpolate --out s.png --stops 3", "--stops is for films; name a file ending in .mp4, or leave it out"),
    ("interpolate --out s.mp4 --stops 1", "stops = 1: it must be at least 2"),
    ("interpolate --out s.mp4 --stops 0", "stops = 0: it must be at least 2"),
    ("interpolate --out s.gif", "cannot write this to s.gif; name a file ending in .png or .mp4 or .npy"),
    ("interpolate --out s", "cannot write this to s; name a file ending in .png or .mp4 or .npy"),
    ("interpolate --out deep/s.png --label 10", "there is no label 10; labels run from 0 to 9"),
    ("interpolate --out s.png --truncation 0", "truncation = 0: it must be above 0"),
    ("interpolate --out s.png --kind cubic", "--kind"),
    ("arithmetic", "see what there is with --show sheet.png"),
    ("arithmetic --plus 3", "a picture to draw, --out result.png"),
    ("arithmetic --out s.png", "name samples, --plus 3,17,22"),
    ("arithmetic --plus 3, --out s.png", "--plus takes numbers of samples"),
    ("arithmetic --plus 3 --minus 4.5 --out s.png", "--minus takes numbers of samples"),
    ("arithmetic --plus 3 --out s.jpg", "cannot write this to s.jpg; name a file ending in .png or .npy"),
    ("arithmetic --show s.npy", "cannot write this to s.npy; name a file ending in .png"),
    ("arithmetic --plus 3 --out deep/s.png --label -1", "there is no label -1; labels run from 0 to 9"),
]


@pytest.mark.parametrize(("words", "said"), WRONG, ids=[words for words, _ in WRONG])
def test_what_is_wrong_is_told_in_a_line(call, trained: Path, tmp_path: Path, words: str, said: str) -> None:
    command, *rest = words.split()
    code, out, err = call(command, trained, *rest)
    assert (code, out) == (2, "")
    assert err.startswith("equipoise: ")
    assert err.count("\n") == 1
    assert said in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("interpolate --out s.png --label 3", "trained without labels; leave --label out"),
        ("interpolate --out s.mp4", "cannot write this to s.mp4; name a file ending in .png or .npy"),
        ("arithmetic --show s.png", "points have no picture here; name a file ending in .npy with --out"),
        ("arithmetic --plus 1 --out s.png", "points have no picture here; name a file ending in .npy with --out"),
    ],
)
def test_points_have_no_labels_and_no_sheet(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    monkeypatch.setattr("equipoise.inference.generator.load", lambda folder: generator())
    command, *rest = words.split()
    code, out, err = call(command, "run", *rest)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_points_have_ways(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.inference.generator.load", lambda folder: generator())
    assert call("interpolate", "run", "--out", "ways.png")[0] == 0
    with Image.open("ways.png") as picture:
        assert len(set(np.asarray(picture.convert("RGB")).reshape(-1, 3).sum(1).tolist())) > 8, "a colour a way"
    assert call("arithmetic", "run", "--plus", "1,2,3", "--out", "sum.npy")[0] == 0
    assert np.load("sum.npy", allow_pickle=False).shape == (9, 2)


@pytest.mark.parametrize("command", ["interpolate --out s.png", "arithmetic --show s.png"])
def test_a_folder_that_is_no_run(call, tmp_path: Path, command: str) -> None:
    name, *rest = command.split()
    assert call(name, "nowhere", *rest) == (2, "", "equipoise: nowhere is not a run: it has no experiment.json\n")
    assert list(tmp_path.iterdir()) == []
