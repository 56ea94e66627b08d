"""The encoder of captions."""

import torch

from equipoise.nn.equalised import initialise_equalised
from equipoise.nn.text_encoder import TextEncoder, initialise_text

WORDS, LENGTH, WIDTH = 9, 4, 8


def build():
    encoder = TextEncoder(WORDS, LENGTH, WIDTH)
    source = torch.Generator().manual_seed(0)
    initialise_equalised(encoder, source)
    initialise_text(encoder, source)
    return encoder


def test_shapes_and_words():
    text = build()(torch.tensor([[3, 5, 0, 0], [2, 2, 7, 1]]))
    assert text.words.shape == (2, 1 + LENGTH, WIDTH)
    assert text.is_word.tolist() == [[True, True, True, False, False], [True] * 5]
    assert torch.allclose(text.summary.square().mean(1), torch.ones(2), atol=1e-4)


def test_what_follows_the_end_has_no_effect():
    encoder = build()
    before = encoder(torch.tensor([[3, 5, 0, 0]]))
    with torch.no_grad():
        encoder.embedding[0] += 10
        encoder.position[2:] += 10
    after = encoder(torch.tensor([[3, 5, 0, 0]]))
    assert torch.equal(before.summary, after.summary)
    assert torch.equal(before.words[:, :3], after.words[:, :3])


def test_texts_differ_by_their_words_and_less_by_their_order():
    summary = build()(torch.tensor([[3, 5, 0, 0], [5, 3, 0, 0], [6, 2, 0, 0]])).summary
    order, words = (summary[0] - summary[1]).norm(), (summary[0] - summary[2]).norm()
    assert 0 < order < words / 2


def test_a_text_without_words_is_finite_and_every_weight_has_a_gradient():
    encoder = build()
    text = encoder(torch.tensor([[0, 0, 0, 0], [1, 2, 3, 4]]))
    assert text.summary.isfinite().all()
    (text.summary[1].sum() + text.words[1].square().sum()).backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in encoder.parameters())


def test_seed_determines_the_embeddings():
    assert torch.equal(build().embedding, build().embedding)
