"""Near-identical images: copies are recognised, different images of one kind are not, and both in large sets."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from equipoise.data._files import near_copies as near_copies_module
from equipoise.data._files.near_copies import near_copies
from equipoise.data.image_folder import ImageFolder

SIDE = 64


def photograph(number, size=256):
    """Draw soft shapes with fine texture."""
    generator = np.random.default_rng(number)
    coarse = generator.integers(0, 256, (8, 8, 3), np.uint8)
    picture = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    fine = Image.fromarray(generator.integers(0, 256, (size // 4, size // 4, 3), np.uint8)).resize((size, size))
    return Image.blend(picture, fine, 0.2)


def tensor(pictures):
    arrays = [np.asarray(each.resize((SIDE, SIDE), Image.Resampling.LANCZOS)).transpose(2, 0, 1) for each in pictures]
    return torch.from_numpy(np.stack(arrays))


def jpeg(picture):
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=75)
    return Image.open(content).convert("RGB")


COPIES = {
    "saved": jpeg,
    "smaller": lambda picture: picture.resize((150, 150), Image.Resampling.LANCZOS),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.04),
    "cropped": lambda picture: picture.crop((2, 0, 256, 254)),
}


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("scale", ["uint8", "float32"])
def test_copies_are_recognised(kind, scale):
    originals = [photograph(number) for number in range(20)]
    images = tensor([*originals, *(COPIES[kind](picture) for picture in originals[:5])])
    if scale == "float32":
        images = images.float() / 127.5 - 1
    groups = near_copies(images, [f"{number:02d}" for number in range(25)])
    assert groups == [f"{number:02d}" for number in (*range(20), *range(5))]


def test_different_images_of_one_scene_are_not_copies():
    """The photographs of the issue: the same ground and sky, with other noise."""
    generator, pictures = np.random.default_rng(0), []
    for _ in range(60):
        pixels = np.full((60, 80, 3), (190, 210, 250)) + generator.normal(0, 8, (60, 80, 3))
        pixels[30:] += np.array((50, 80, 30)) - (190, 210, 250)
        pictures.append(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
    names = [f"{number:02d}" for number in range(60)]
    assert near_copies(tensor(pictures), names) == names


def test_copies_are_recognised_in_large_sets(monkeypatch):
    monkeypatch.setattr(near_copies_module, "MAX_EXHAUSTIVE", 10)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (1500, 3, 8, 8), generator=generator).float()
    images = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear").byte()
    noise = torch.randint(-3, 4, images[:100].shape, generator=generator)
    images[1400:] = (images[:100].int() + noise).clamp(0, 255).byte()
    groups = near_copies(images, [f"{number:04d}" for number in range(1500)])
    assert groups == [f"{number % 1400:04d}" for number in range(1500)]


def test_nearly_empty_images_take_bounded_time():
    images = torch.zeros(600, 1, 16, 16, dtype=torch.uint8)
    images[torch.arange(600), 0, torch.arange(600) % 16, torch.arange(600) // 16 % 16] = 1
    assert len(near_copies(images, [f"{number:04d}" for number in range(600)])) == 600


def test_copies_are_counted_and_in_one_split(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(30):
        picture = photograph(number)
        picture.save(tmp_path / "in" / f"{number:02d}.png")
        if number < 10:
            picture.save(tmp_path / "in" / f"{number:02d} copy.jpg", quality=80)
    data = ImageFolder(str(tmp_path / "in"), held_out=0.4, cache=str(tmp_path / "cache"))
    notes = [message.note for message in data.prepare() if message.note]
    assert "10 images are nearly identical to another (such as 00 copy.jpg and 00.png); all are used" in notes
    resolved = data.resolve()
    splits = [resolved.stream(split, resolved.count(split), 0).batch(0).real for split in ("train", "held_out")]
    train, held_out = (torch.nn.functional.avg_pool2d(images, 16).flatten(1) for images in splits)
    assert len(train) + len(held_out) == 40
    assert torch.cdist(train, held_out).min() > 0.3
