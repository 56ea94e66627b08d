"""The emoji that are included in the package."""

import hashlib
import shutil

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from equipoise.core import catalog
from equipoise.data import openmoji
from equipoise.data.openmoji import GROUPS, OpenMoji
from equipoise.errors import DataError, SettingError


def all_pairs(split, image_size=32):
    count = OpenMoji().count(split)
    return OpenMoji(image_size).stream(split, count, 0).batch(0)


@pytest.fixture(scope="module")
def file():
    with np.load(openmoji.FILE, allow_pickle=False) as arrays:
        return dict(arrays)


def test_file_is_small_and_licensed():
    assert openmoji.FILE.stat().st_size < 3_000_000
    text = openmoji.FILE.with_name("OPENMOJI-LICENSE.txt").read_text()
    for words in (
        "OpenMoji – the open-source emoji and icon project",
        "CC BY-SA 4.0",
        "17.0.0",
        "https://openmoji.org",
    ):
        assert words in text


def test_counts_groups_and_order_equal_the_file(file):
    held_out, codes = int(file["held_out"]), [code.decode() for code in file["codes"]]
    assert (OpenMoji().count("train"), OpenMoji().count("held_out")) == (len(codes) - held_out, held_out)
    assert abs(held_out / len(codes) - 0.1) < 0.005
    assert tuple(group.decode() for group in file["groups"]) == GROUPS
    assert len(set(codes)) == len(codes) == 2164
    assert np.bincount(file["labels"]).min() > 0
    assert OpenMoji().spec.class_names == GROUPS


def test_held_out_depends_on_the_hash_of_the_code(file):
    """Computed independently for emoji that share no code point; a few more follow a similar emoji."""
    codes, border = [code.decode() for code in file["codes"]], OpenMoji().count("train")
    single = [number for number, code in enumerate(codes) if "-" not in code]
    in_lowest_tenth = [hashlib.sha256(codes[number].encode()).hexdigest() < "1999999a" for number in single]
    as_hashed = sum(out == (number >= border) for number, out in zip(single, in_lowest_tenth, strict=True))
    assert len(single) > 1500
    assert as_hashed / len(single) > 0.97


def test_variants_of_an_emoji_are_in_one_split(file):
    codes, border = [code.decode() for code in file["codes"]], OpenMoji().count("train")
    side = {code: number >= border for number, code in enumerate(codes)}
    families = (
        ("1F9D1-200D-1F680", "1F468-200D-1F680", "1F469-200D-1F680"),  # astronauts
        ("1F6B6", "1F6B6-200D-2640-FE0F", "1F6B6-200D-2642-FE0F"),  # walking
        tuple(f"{0x1F550 + hour:X}" for hour in range(24)),  # clocks
        tuple(f"{digit:04X}-FE0F-20E3" for digit in (0x30, 0x36, 0x38)),  # keycaps
    )
    for family in families:
        assert len({side[code] for code in family}) == 1


def test_splits_have_no_near_duplicates(file):
    """The mean difference is at least 4 of 255, computed on the whole images."""
    colour = torch.from_numpy(file["colour"]).flatten(1)
    border = OpenMoji().count("train")
    train = colour[:border].float()
    for picture in colour[border::40].float():
        assert (train - picture).abs().mean(dim=1).min() >= 4


def test_pairs_are_coloured_and_aligned(file):
    """Where the outline is black, the coloured image of the same emoji is dark; that of another emoji need not be."""
    colour, is_black = file["colour"].mean(axis=3), file["outline"] < 64
    other_colour = np.roll(colour, 7, axis=0)
    own = np.array([image[mask].mean() for image, mask in zip(colour, is_black, strict=True) if mask.any()])
    other = np.array([image[mask].mean() for image, mask in zip(other_colour, is_black, strict=True) if mask.any()])
    assert len(own) > 2100
    assert own.mean() < 40 < 120 < other.mean()


def test_batches_pair_colour_and_outline_of_the_same_emoji(file):
    batch = OpenMoji(64).stream("held_out", 212, 3).batch(0)
    pairs = {
        colour.transpose(2, 0, 1).tobytes() + outline.tobytes(): label
        for colour, outline, label in zip(file["colour"], file["outline"], file["labels"], strict=True)
    }
    as_bytes = [((part + 1) * 127.5).round().byte().numpy() for part in (batch.real, batch.source)]
    assert OpenMoji(64).spec.source == batch.source.shape[1:] == (1, 64, 64)
    for colour, outline, label in zip(*as_bytes, batch.condition, strict=True):
        assert pairs[colour.tobytes() + outline.tobytes()] == label


@pytest.mark.parametrize("size", [16, 32])
def test_smaller_sizes_are_resampled(size):
    original, other = all_pairs("held_out", 64), all_pairs("held_out", size)
    assert other.real.shape == (212, 3, size, size)
    assert other.source.shape == (212, 1, size, size)
    assert torch.equal(other.condition, original.condition)
    for large, small in ((original.real, other.real), (original.source, other.source)):
        area = F.interpolate(large, size=(size, size), mode="area")
        assert (small - area).abs().mean() < 0.1, "close to the mean of the pixels that each covers"
        assert (small - area).abs().mean() < (small - area.roll(1, dims=0)).abs().mean() / 3
        assert -1 <= small.min() <= small.max() <= 1


@pytest.mark.parametrize("size", [0, 48, 128])
def test_unsupported_size_names_the_remedy(size):
    with pytest.raises(SettingError) as error:
        catalog.build("data", "openmoji", {"image_size": size})
    assert str(error.value) == f"image_size = {size} is not supported by 'openmoji'; use 16, 32 or 64"


def test_missing_file_is_reported(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*openmoji\.npz: No such file or directory; reinstall equipoise"):
        openmoji._read(tmp_path / "openmoji.npz")


def test_damaged_file_is_refused(tmp_path):
    file = tmp_path / "openmoji.npz"
    shutil.copy(openmoji.FILE, file)
    content = bytearray(file.read_bytes())
    content[1_000_000] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"openmoji\.npz is damaged: .*; reinstall equipoise"):
        openmoji._read(file)


def test_words_of_fewer_training_images():
    """The vocabulary stays that of the retrieval metrics."""
    whole, few = (OpenMoji(captions=True, training_images=count).spec.captions for count in (None, 100))
    assert few.vocabulary == whole.vocabulary
    assert whole.trained is None
    assert whole.read("boy heavy").unknown == {}
    stream = OpenMoji(captions=True, training_images=100).stream("train", 100, 0).batch(0)
    words = {few.vocabulary.words[token] for token in stream.condition.unique().tolist() if token}
    assert few.trained == words
    assert set(few.read(f"{min(words)} boy heavy").unknown) == {"boy", "heavy"}
    assert all(not few.read(example).unknown for example in few.examples)


def test_training_images_are_spread_over_groups():
    few = OpenMoji(image_size=16, training_images=100)
    assert (few.count("train"), few.count("held_out")) == (100, 212)
    batch, other = few.stream("train", 100, 0).batch(0), few.stream("train", 100, 1).batch(0)
    assert len(batch.condition.unique()) == 10, "one group is too small for a hundredth"

    def pairs(batch):
        both = zip(batch.real, batch.source, strict=True)
        return {(real.numpy().tobytes(), outline.numpy().tobytes()) for real, outline in both}

    assert pairs(batch) == pairs(other) < pairs(OpenMoji(image_size=16).stream("train", 1952, 0).batch(0))
    with pytest.raises(SettingError, match="training_images = 1953: it must be from 1 to 1952"):
        OpenMoji(training_images=1953)
