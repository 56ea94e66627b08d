"""Captions of the emoji: the frozen names, the vocabulary of training, and captions that were never trained on."""

import unicodedata

import pytest
import torch

from equipoise.core.captions import split_words
from equipoise.core.tokens import ENDING
from equipoise.data import _emoji_captions
from equipoise.data._pairs import ImageRows
from equipoise.data.openmoji import CAPTIONED, COUNTS, OpenMoji, _emoji
from equipoise.errors import DataError, SettingError

DATA = OpenMoji(16, captions=True)


def captions_of(split):
    return DATA.stream(split, DATA.count(split), 0).batch(0).condition


def test_counts_equal_the_file():
    captions = DATA._captions()
    assert (len(captions.train), len(captions.held_out)) == (CAPTIONED["train"], CAPTIONED["held_out"])
    assert int(captions.train.max()) < COUNTS["train"] <= int(captions.held_out.min())


def test_captions_are_the_names_of_the_characters():
    """Computed by this interpreter for emoji of one character; a name never changes once it is given."""
    names = _emoji_captions._read(_emoji_captions.FILE)
    single = {code: caption for code, caption in names.items() if "-" not in code}
    assert len(single) > 1000
    for code, caption in single.items():
        assert caption.split() == split_words(unicodedata.name(chr(int(code, 16))))
    assert names["1F34E"] == "red apple"
    assert names["1F469-200D-1F680"] == "woman rocket"
    assert len(set(names.values())) == len(names)


def test_words_are_those_of_training_captions():
    vocabulary = DATA.spec.captions.vocabulary
    used = captions_of("train").unique().tolist()
    assert used == list(range(len(vocabulary)))
    assert vocabulary.words[0] == ENDING
    assert vocabulary.words[1] == "face", "the most frequent word"


def test_every_held_out_caption_has_a_known_word_and_examples_have_only_such():
    assert (captions_of("held_out")[:, 0] != 0).all()
    captions = DATA.spec.captions
    assert len(captions.examples) > 60
    assert all(not captions.read(text).unknown for text in captions.examples)


def test_batches_pair_a_picture_with_its_own_caption():
    """Some emoji are drawn alike; a picture has one of the captions of its drawing."""
    captioned = DATA._captions()
    batch = DATA.stream("train", 50, 3).batch(2)
    assert batch.condition.shape == (50, DATA.spec.captions.length)
    assert batch.condition.dtype == torch.int64
    pictures = ImageRows(_emoji(16).colour, captioned.train).select(torch.arange(len(captioned.train)))
    pairs = {
        (picture.numpy().tobytes(), tuple(tokens))
        for picture, tokens in zip(pictures, captioned.tokens[captioned.train].tolist(), strict=True)
    }
    drawn = [
        (picture.numpy().tobytes(), tuple(tokens))
        for picture, tokens in zip(batch.real, batch.condition.tolist(), strict=True)
    ]
    assert len(set(drawn)) == 50
    assert set(drawn) <= pairs


def test_labels_remain_the_default():
    assert OpenMoji().spec.captions is None
    assert OpenMoji().spec.classes == 11
    assert (DATA.spec.classes, DATA.spec.class_names) == (0, ())


def test_options_that_contradict_captions_are_refused():
    with pytest.raises(SettingError, match="training_images = 1568: it must be from 1 to 1567"):
        OpenMoji(captions=True, training_images=1568)
    with pytest.raises(SettingError, match="balance = true needs classes"):
        OpenMoji(captions=True, balance=True).stream("train", 8, 0)


def test_damaged_file_is_refused(tmp_path):
    file = tmp_path / "openmoji_captions.txt"
    file.write_bytes(_emoji_captions.FILE.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"openmoji_captions\.txt is damaged: .*; reinstall equipoise"):
        _emoji_captions._read(file)
    with pytest.raises(DataError, match=r"cannot read .*; reinstall equipoise"):
        _emoji_captions._read(tmp_path / "other.txt")
