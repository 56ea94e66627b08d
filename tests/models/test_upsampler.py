"""The upsampler: inputs made of the images, losses of pairs of two sizes, and the commands on a run of it."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate, l1_loss, softplus

from equipoise.cli.commands import _follow_run
from equipoise.core import catalog
from equipoise.core.data import DataSpec, PairedBatch
from equipoise.core.sampling import DEFAULT_SAMPLING
from equipoise.errors import SettingError
from equipoise.report.steps import ReportFiles
from equipoise.training.state import initial_state

SPEC = DataSpec((3, 16, 24), flips=True)


def build(spec: DataSpec = SPEC, **options: object):
    recipe = catalog.build("models", "upsampler", {"width": 4, "blocks": 1, "discriminator_width": 4, **options})
    return recipe.build(spec, torch.Generator().manual_seed(0))


def pairs(count: int = 4) -> PairedBatch:
    real = torch.rand(count, 3, 16, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return PairedBatch(real, source=interpolate(real, scale_factor=0.25, mode="area"))


def test_inputs_are_smaller_and_samples_as_large_as_the_images() -> None:
    model = build()
    assert (model.source, model.scale, model.multiple) == ((3, 4, 6), 4, 1)
    samples = model.generate(model.networks, torch.zeros(4, 1), pairs().source, DEFAULT_SAMPLING)
    assert samples.shape == (4, 3, 16, 24)
    expected = interpolate(pairs().source, scale_factor=4.0, mode="bicubic", align_corners=False).clamp(-1, 1)
    assert torch.equal(samples, expected), "a new network is bicubic"


def test_loss_of_the_generator_is_that_of_pix2pix_on_enlarged_inputs() -> None:
    """L_G = softplus(-D(up(x), G(x))) + lambda |y - G(x)|, computed here from the networks."""
    model, batch = build(), pairs()
    state = initial_state(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(0))
    moment = state.moment(model.knobs.with_values({"l1_weight": 7, "adversarial_weight": 2, "augment_p": 0}), 0.0)
    loss = model.phases[1].loss(model.networks, batch, moment)
    fake = model.networks["generator"](batch.source)
    large = interpolate(batch.source, scale_factor=4.0, mode="bicubic", align_corners=False)
    logit = model.networks["discriminator"](torch.cat([large, fake], dim=1))
    expected = 2 * softplus(-logit).mean() + 7 * l1_loss(fake, batch.real)
    torch.testing.assert_close(loss.total, expected)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (3, 30, 30),
            "upsampler enlarges images by 4 to sides that are multiples of 4, of at least 16 pixels, not 30 x 30; use "
            "--image-size 32",
        ),
        (
            (3, 8, 8),
            "upsampler enlarges images by 4 to sides that are multiples of 4, of at least 16 pixels, not 8 x 8; use "
            "--image-size 16",
        ),
        ((2,), "upsampler enlarges images; use --model mlp for points, dcgan for sequences"),
    ],
)
def test_unsuitable_data_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(SettingError) as error:
        build(DataSpec(shape))
    assert str(error.value) == message


def test_factor_must_be_possible() -> None:
    with pytest.raises(SettingError, match="factor = 3: it must be 2, 4 or 8"):
        build(factor=3)


def test_commands_for_a_folder_of_pictures(call, working_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on anybody's pictures, enlarge others at their own size, evaluate against targets."""
    monkeypatch.setattr(_follow_run, "write_report_files", lambda folder, **_: ReportFiles(folder / "report.html"))
    source = torch.Generator().manual_seed(0)
    for name, count, side in (("pictures", 40, 16), ("small", 2, 9)):
        folder = working_directory / name
        folder.mkdir()
        for number in range(count):
            pixels = torch.randint(256, (side, side, 3), dtype=torch.uint8, generator=source).numpy()
            Image.fromarray(pixels).save(folder / f"{number}.png")
    options = ("--option", "width=4", "--option", "blocks=1", "--option", "discriminator_width=4")
    words = ("--model", "upsampler", *options, "--steps", 2, "--batch-size", 8, "--out", "run", "--seed", 1, "--json")
    code, out, err = call("train", "pictures", *words)
    assert code in (0, 3), err
    assert json.loads(Path("run/experiment.json").read_text())["metric"]["name"] == "paired_l1"
    assert call("translate", "run", "small", "--out", "large")[0] == 0
    with Image.open("large/0.png") as image:
        assert image.size == (36, 36)
    code, out, err = call("evaluate", "run", "--metrics", "paired_l1", "--json")
    assert code == 0, err
    assert '"paired_l1"' in out
    assert call("sample", "run", "--out", "a.png")[0] == 2
