"""Captions as tokens, and prompts with unknown words."""

import pytest
import torch

from equipoise.core.captions import Captions, split_words
from equipoise.core.tokens import ENDING, Vocabulary
from equipoise.errors import SettingError

CAPTIONS = Captions(Vocabulary((ENDING, "face", "red", "apple", "green")), 3, ("red apple", "face"))


def test_words_are_runs_of_letters_and_digits_in_lower_case():
    assert split_words("A Heart-shaped face, 24!") == ["a", "heart", "shaped", "face", "24"]


def test_unknown_words_and_those_beyond_the_length_are_left_out():
    tokens = CAPTIONS.encode(["Red apple", "blue face", "red red red red", "blue"])
    assert tokens.tolist() == [[2, 3, 0], [1, 0, 0], [2, 2, 2], [0, 0, 0]]
    assert tokens.dtype == torch.int64


def test_examples_are_used_in_turn():
    assert CAPTIONS.in_turn(3).tolist() == [[2, 3, 0], [1, 0, 0], [2, 3, 0]]


def test_prompt_names_unknown_words_and_the_most_similar_ones():
    prompt = CAPTIONS.read("Red appel zzz")
    assert prompt.tokens == (2, 0, 0)
    assert prompt.unknown == {"appel": "apple", "zzz": None}
    first, second = prompt.warnings()
    assert first == (
        "'appel' in the prompt 'Red appel zzz' is not a word of the training captions and was left out; did you mean "
        "'apple'?"
    )
    assert second == "'zzz' in the prompt 'Red appel zzz' is not a word of the training captions and was left out"


def test_words_of_other_alphabets_are_named():
    captions = Captions(Vocabulary((ENDING, "face", "red", "pi", "ata", "cafe")), 6, ("red face",))
    prompt = captions.read("red яблоко, 苹果 smilıng Café piñata ﬁre_red")
    assert list(prompt.unknown) == ["яблоко", "苹果", "smilıng", "fire"]
    assert prompt.tokens == (2, 5, 3, 4, 2, 0), "captions write piñata as two words"


def test_words_that_are_not_trained_on_are_unknown():
    captions = Captions(CAPTIONS.vocabulary, 3, ("red apple",), frozenset({"red", "green"}))
    prompt = captions.read("red face grein")
    assert (prompt.tokens, prompt.unknown) == ((2, 0, 0), {"face": None, "grein": "green"})
    assert captions.encode(["red face"]).tolist() == [[2, 1, 0]]
    with pytest.raises(SettingError, match="has no word of the 2 words of the training captions"):
        captions.read("face")


def test_prompt_that_is_too_long_says_what_was_left_out():
    prompt = CAPTIONS.read("red green face apple face")
    assert (prompt.tokens, prompt.dropped) == ((2, 4, 1), ("apple", "face"))
    assert prompt.warnings() == (
        "'apple', 'face' in the prompt 'red green face apple face' exceed the length of a caption and were left out",
    )


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("appel", "did you mean 'apple'?"),
        ("xyz", "use words of captions such as 'red apple', 'face'"),
        ("", "use words of captions such as 'red apple', 'face'"),
    ],
)
def test_prompt_without_a_known_word_is_refused(text, remedy):
    with pytest.raises(SettingError) as error:
        CAPTIONS.read(text)
    assert str(error.value) == f"the prompt '{text}' has no word of the 4 words of the training captions; {remedy}"
