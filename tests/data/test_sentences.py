"""The data sets sentences, oracle and text."""

import dataclasses
import hashlib
import itertools
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise.core import catalog
from equipoise.core.tokens import UNKNOWN, Vocabulary
from equipoise.data._oracle import OracleWeights, build_network, random_weights, read_weights
from equipoise.data.oracle import Oracle
from equipoise.data.sentences import SLOTS, Sentences
from equipoise.data.text_lines import TextLines
from equipoise.errors import DataError, SettingError

GATES = ("i", "f", "og", "c")


def texts(data, split: str) -> list[str]:
    count = data.count(split)
    rows = data.stream(split, count, 0).batch(0).real.tolist()
    return [data.spec.vocabulary.decode(row) for row in rows]


def test_sentences_equal_the_lab_script() -> None:
    """random.seed(42), then four choices per sentence; the first one is "the dog sat to the lake"."""
    state = random.getstate()
    random.seed(42)
    expected = [" ".join(random.choice(slot) for slot in SLOTS) for _ in range(2000)]
    random.setstate(state)
    result = texts(Sentences(), "train")
    assert sorted(result) == sorted(expected)
    assert expected[0] == "the dog sat to the lake"
    digest = hashlib.sha256("\n".join(sorted(result)).encode()).hexdigest()
    assert digest.startswith(LAB), digest


LAB = "9b7bea5e"


def test_held_out_sentences_are_valid_and_disjoint() -> None:
    data = Sentences()
    train, held_out = (set(texts(data, split)) for split in ("train", "held_out"))
    assert len(held_out) == 1000
    assert not train & held_out
    every = {" ".join(phrases) for phrases in itertools.product(*SLOTS)}
    assert held_out | train < every


def test_distribution_covers_exactly_the_valid_sentences() -> None:
    distribution, words = Sentences().spec.distribution, Sentences().spec.vocabulary
    support = distribution.support()
    assert support.shape == (10_000, 7)
    assert distribution.log_probability(support).exp().sum().item() == pytest.approx(1)
    wrong = ("a cat sat on the mat", "the cat sat on the mat mat", "the cat sat on", "")
    rows = torch.tensor([words.encode(line, 7, "here") for line in wrong])
    assert distribution.log_probability(rows).tolist() == [-math.inf] * 4
    assert distribution.log_probability(torch.tensor([[-1, 2, 3, 4, 5, 6, 0], [99, 2, 3, 4, 5, 6, 0]])).isinf().all()


def test_too_many_sentences_leave_nothing_to_hold_out() -> None:
    with pytest.raises(SettingError, match="drawn = 30000: it must be from 1 to 20000"):
        Sentences(drawn=30_000)


def test_oracle_is_reproducible() -> None:
    """The oracle uses PCG64 in a documented order, without torch."""
    assert Oracle(words=200).resolve().digest.startswith("cf2b195e")
    assert Oracle(words=200, seed=1).resolve().digest.startswith("d1e6621d")
    source = np.random.default_rng(0)
    assert np.array_equal(random_weights(200, 32, 0).embedding, source.standard_normal((200, 32), dtype=np.float32))


def test_oracle_entropy() -> None:
    """200 words: 3.08 to 3.24 nats per token over seeds, compared with 7.8 to 8.1 for uniform words."""
    data = Oracle(words=200, train=2000).resolve()
    distribution = data.spec.distribution
    own = -distribution.log_probability(data.stream("train", 2000, 0).batch(0).real).mean().item() / 20
    uniform = torch.randint(200, (2000, 20), generator=torch.Generator().manual_seed(0))
    assert own == pytest.approx(3.08, abs=0.03)
    assert -distribution.log_probability(uniform).mean().item() / 20 == pytest.approx(7.98, abs=0.1)
    assert distribution.log_probability(torch.full((1, 20), 200)).item() == -math.inf


def arrays_of(weights: OracleWeights) -> dict[str, np.ndarray]:
    """Names and shapes of the weights as in the original program."""
    hidden = len(weights.states)
    order = ("i", "f", "c", "og")
    cut = {gate: slice(place * hidden, (place + 1) * hidden) for place, gate in enumerate(order)}
    named = {f"W{gate}": weights.inputs[:, rows] for gate, rows in cut.items()}
    named |= {f"U{gate}": weights.states[:, rows] for gate, rows in cut.items()}
    named |= {f"b{gate}": weights.biases[rows] for gate, rows in cut.items()}
    return {"E": weights.embedding, **named, "Wo": weights.exit, "bo": weights.last}


def by_hand(arrays: dict[str, np.ndarray], sentence: list[int]) -> float:
    """Compute log p of a sentence by the original equations: row vectors times matrices, one gate at a time."""
    hidden = cell = np.zeros(arrays["Ui"].shape[0])
    total, before = 0.0, 0
    for token in sentence:
        x = arrays["E"][before]
        i, f, o = (
            1 / (1 + np.exp(-(x @ arrays[f"W{g}"] + hidden @ arrays[f"U{g}"] + arrays[f"b{g}"]))) for g in GATES[:3]
        )
        cell = f * cell + i * np.tanh(x @ arrays["Wc"] + hidden @ arrays["Uc"] + arrays["bc"])
        hidden = o * np.tanh(cell)
        logits = hidden @ arrays["Wo"] + arrays["bo"]
        total += logits[token] - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
        before = token
    return float(total)


@pytest.fixture
def oracle_file(tmp_path: Path) -> Path:
    """An oracle of nine words with a state of size six."""
    np.savez(tmp_path / "oracle.npz", **arrays_of(random_weights(9, 6, 3)))
    return tmp_path / "oracle.npz"


def test_oracle_is_read_from_a_file(oracle_file: Path) -> None:
    data = catalog.build("data", "oracle", {"parameters": str(oracle_file), "length": 5, "train": 50}).resolve()
    assert data.words == 9
    assert data.spec.distribution.digest == random_weights(9, 6, 3).digest
    arrays = arrays_of(random_weights(9, 6, 3))
    sentences = data.stream("train", 50, 0).batch(0).real
    expected = [by_hand(arrays, row) for row in sentences.tolist()]
    result = data.spec.distribution.log_probability(sentences)
    torch.testing.assert_close(result, torch.tensor(expected).double(), atol=1e-4, rtol=0)
    assert build_network(read_weights(oracle_file)).lstm.bias_hh_l0.abs().max() == 0


def change_arrays(path: Path, **changes: np.ndarray | None) -> Path:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file if name not in changes or changes[name] is not None}
    np.savez(path, **{**arrays, **{name: array for name, array in changes.items() if array is not None}})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Uf": None}, r"lacks the array 'Uf'; an oracle consists of E, Wi"),
        ({"Wc": np.zeros((7, 6), np.float32)}, r"Wc has shape \(7, 6\), expected \(6, 6\) from E"),
        ({"Wo": np.zeros((6, 8), np.float32)}, r"Wo has shape \(6, 8\), expected \(6, 9\) from E"),
        ({"E": np.zeros(9, np.float32)}, r"E has shape \(9,\)"),
        ({"bo": np.zeros(9, np.int64)}, "bo must contain finite real numbers"),
        ({"bo": np.full(9, np.nan, np.float32)}, "bo must contain finite real numbers"),
    ],
)
def test_oracle_of_wrong_shapes_is_refused(oracle_file: Path, changes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Oracle(parameters=str(change_arrays(oracle_file, **changes))).resolve()


def test_invalid_oracle_files_are_refused(tmp_path: Path, oracle_file: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        Oracle(parameters=str(tmp_path / "no.npz")).resolve()
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        Oracle(parameters=str(tmp_path)).resolve()
    np.save(tmp_path / "alone.npy", np.zeros(3))
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "text.npz").write_text("words")
    (tmp_path / "cut.npz").write_bytes(oracle_file.read_bytes()[:400])
    pickled = change_arrays(oracle_file, E=np.array([{}], dtype=object)).name
    for name in ("alone.npy", "empty.npz", "text.npz", "cut.npz", pickled):
        with pytest.raises(DataError) as error:
            Oracle(parameters=str(tmp_path / name)).resolve()
        assert f"{name} is not a file of arrays (.npz); write it with numpy.savez" in str(error.value)
        assert "pickle" not in str(error.value), "numpy's advice to unpickle it is not passed on"


def test_changed_oracle_file_is_refused(oracle_file: Path) -> None:
    data = Oracle(parameters=str(oracle_file)).resolve()
    change_arrays(oracle_file, bo=np.ones(9, np.float32))
    with pytest.raises(DataError, match="changed since this run started"):
        data.resolve()


def test_oracle_digest_is_checked() -> None:
    data = dataclasses.replace(Oracle(words=9, length=4, size=3, train=20).resolve(), seed=3)
    with pytest.raises(DataError, match=r"^words = 9, size = 3 and seed = 3 do not give the oracle of this digest;"):
        data.resolve()


@pytest.fixture
def lines(tmp_path: Path):
    """Return a function that writes a text file and creates its data set."""

    def create(content: str | bytes, **options) -> TextLines:
        path = tmp_path / "my.txt"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return TextLines(str(path), **options)

    return create


def notes(data: TextLines) -> list[str]:
    return [message.note for message in data.prepare()]


def test_lines_are_encoded_and_decoded(lines) -> None:
    data = lines("the cat sat\n\n  a dog  \nthe cat\r\nthe\n", held_out=0.0).resolve()
    assert data.spec.shape == (4,)
    assert data.words == ("<end>", "the", "cat", "a", "dog", "sat"), "the most frequent first, then by letters"
    assert sorted(texts(data, "train")) == ["a dog", "the", "the cat", "the cat sat"]
    assert sorted(data.stream("train", 4, 0).batch(0).lengths.tolist()) == [1, 2, 2, 3]
    assert notes(data) == ["4 lines of up to 3 words, 6 distinct ones with the end token"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_endings_do_not_matter(lines, ending: str, mark: bytes) -> None:
    data = lines(mark + ending.join(("the cat sat", "a dog", "")).encode(), held_out=0.0)
    assert sorted(texts(data, "train")) == ["a dog", "the cat sat"]
    assert data.resolve().words == ("<end>", "a", "cat", "dog", "sat", "the")


def test_characters_as_tokens(lines) -> None:
    data = lines("aé b\nba\n", unit="characters", held_out=0.0).resolve()
    assert sorted(texts(data, "train")) == ["aé b", "ba"]
    assert data.spec.shape == (5,)


def test_long_lines_are_truncated_and_reported(lines) -> None:
    data = lines("a b c d e\na b\na b c\n", longest=3, held_out=0.0)
    assert sorted(texts(data, "train")) == ["a b", "a b c", "a b c"]
    assert notes(data)[1] == "1 of 3 lines are truncated to 3 words (longest)"
    many = lines(" ".join(["w"] * 100) + "\nw\n", held_out=0.0)
    assert many.resolve().length == 32


def test_equal_lines_are_in_one_split(lines) -> None:
    data = lines("\n".join(f"line {number % 10}" for number in range(100)), held_out=0.2)
    train, held_out = (set(texts(data, split)) for split in ("train", "held_out"))
    assert (len(train), len(held_out)) == (8, 2)
    assert not train & held_out
    assert data.count("held_out") == 20


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(f"once upon a time {number}" for number in range(40)) + "\nthere was a king\nthere was a queen",
        "\n".join(" " * (number % 3 + 1) + f"line{' ' * (number % 4 + 1)}{number % 6}" for number in range(40)),
        "\n".join(map(" ".join, itertools.product("abc", "abc", "abc"))) + "".join(f"\na b {n}" for n in range(30)),
    ],
    ids=["equal after truncation", "different spaces", "equal except for rare words"],
)
def test_lines_equal_after_marking_are_in_one_split(lines, content: str) -> None:
    data = lines(content, longest=4, most=8, rare="mark", held_out=0.3)
    train, held_out = (set(texts(data, split)) for split in ("train", "held_out"))
    assert train
    assert not train & held_out
    assert data.count("train") + data.count("held_out") == len(content.splitlines())


def test_held_out_lines_do_not_influence_the_vocabulary(lines) -> None:
    content = "\n".join(f"the cat number{number} sat" for number in range(20))
    data = lines(content, rare="mark", held_out=0.25)
    assert f"the cat {UNKNOWN} sat" in texts(data, "held_out")
    assert not any(UNKNOWN in text for text in texts(data, "train"))
    assert len(data.resolve().words) == 2 + 3 + 15
    assert notes(data)[-1] == "5 of 20 held-out words are not in the vocabulary and become <unknown> (most)"
    assert texts(data.resolve(), "held_out") == texts(data, "held_out")
    complete = lines(content, held_out=0.25)
    assert len(complete.resolve().words) == 1 + 3 + 20
    assert notes(complete)[-1].startswith("5 of them occur only in held-out lines")


def test_truncated_words_are_not_in_the_vocabulary(lines) -> None:
    assert lines("a b c\nb a d\na a\n", longest=2, held_out=0.0).resolve().words == ("<end>", "a", "b")


def test_resolved_text_needs_no_file(lines) -> None:
    data = lines("the cat\na dog\n").resolve()
    Path(data.file).unlink()
    assert data.spec.vocabulary.decode([1, 2, 0]) == "a cat"
    with pytest.raises(DataError, match="does not exist"):
        data.count("train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "my.txt is empty; it must contain one sentence per line"),
        (" \n\t\n", "my.txt is empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "my.txt, line 1: not UTF-8 text"),
        (b"fine\nl\xe4ter\n", "my.txt, line 2: not UTF-8 text"),
        (b"fine\n\nwith\x00nothing\n", "my.txt, line 3: not UTF-8 text"),
        ("an <end> here\n", "contains the reserved word <end>"),
        ("the cat sat", "my.txt contains only one distinct line; use a file with many lines"),
        ("the cat\n" * 200, "my.txt contains only one distinct line"),
    ],
)
def test_files_that_are_not_text_are_refused(lines, content, message: str) -> None:
    with pytest.raises(DataError, match=message):
        lines(content).resolve()


def test_vocabulary_limit(lines) -> None:
    content = "a a b\na b c d\n"
    with pytest.raises(DataError) as error:
        lines(content, most=4).resolve()
    message = "4 different words and an end token: more than most = 4; use --option data.most=5, or data.rare=mark"
    assert message in str(error.value)
    assert len(lines(content, most=5).resolve().words) == 5
    data = lines(content, most=4, rare="mark", held_out=0.0).resolve()
    assert data.words == ("<end>", UNKNOWN, "a", "b")
    assert f"a b {UNKNOWN} {UNKNOWN}" in texts(data, "train")
    assert notes(data)[-1] == "2 of 7 training words are not in the vocabulary and become <unknown> (most)"


def test_unknown_word_is_reported_with_its_line(lines) -> None:
    data = lines("a b\nb zebra\n", words=("a", "b"), held_out=0.0)
    with pytest.raises(DataError, match=r"my.txt, line 2: 'zebra' is not one of the 3 words of the vocabulary"):
        data.count("train")


def test_changed_file_is_refused(lines) -> None:
    data = lines("a b\nb a\n").resolve()
    Path(data.file).write_text("a b\nb a\nb b\n")
    with pytest.raises(DataError, match="changed since this run started"):
        data.resolve()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"most": 0}, "most = 0"), ({"held_out": 0.9}, "held_out = 0.9"), ({"longest": 0}, "longest = 0")],
)
def test_options_out_of_range_are_refused(lines, options, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        lines("a\n", **options)


def test_fixed_length_sentences_must_be_complete() -> None:
    words = Vocabulary(("x", "y"))
    assert words.encode("x y y x", 3, "here") == [0, 1, 1]
    with pytest.raises(DataError, match="here: 2 words instead of 3"):
        words.encode("x y", 3, "here")


def test_invalid_tokens_decode_to_unknown() -> None:
    words = Vocabulary(("<end>", "a"))
    assert words.decode([1, 7, math.nan, 1, 0, 1]) == f"a {UNKNOWN} {UNKNOWN} a"
