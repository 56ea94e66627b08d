"""Attention by distance, and from places to words."""

import torch

from equipoise.nn.equalised import initialise_equalised
from equipoise.nn.text_attention import CrossAttention, DistanceAttention

CHANNELS, WORD = 16, 6


def build(layer):
    initialise_equalised(layer, torch.Generator().manual_seed(0))
    return layer


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_weights_are_the_softmax_of_negative_squared_distances():
    layer, maps = build(DistanceAttention(CHANNELS)), draw(2, CHANNELS, 3, 4)
    query = layer.query(maps).flatten(2).transpose(1, 2)
    distances = torch.cdist(query, query).square() / layer.dim**0.5
    assert torch.allclose(layer.weights(maps), torch.softmax(-distances, dim=2), atol=1e-5)
    assert torch.allclose(layer.weights(maps).sum(2), torch.ones(2, 12), atol=1e-6)


def test_equal_places_get_equal_attention():
    layer = build(DistanceAttention(CHANNELS))
    maps = draw(2, CHANNELS, 1, 1).expand(-1, -1, 3, 4)
    assert torch.allclose(layer.weights(maps), torch.full((2, 12, 12), 1 / 12), atol=1e-6)


def test_a_place_attends_to_itself_most():
    """With one projection for queries and keys no place is nearer than itself; inner products do not have this."""
    weights = build(DistanceAttention(CHANNELS)).weights(10 * draw(2, CHANNELS, 3, 4))
    assert torch.equal(weights.argmax(2), torch.arange(12).expand(2, -1))


def test_new_layers_are_the_identity_and_gamma_learns():
    maps, words = draw(2, CHANNELS, 3, 4), draw(2, 5, WORD, seed=2)
    inputs = (
        (build(DistanceAttention(CHANNELS)), ()),
        (build(CrossAttention(CHANNELS, WORD)), (words, words[..., 0] > -9)),
    )
    for layer, others in inputs:
        output = layer(maps, *others)
        assert torch.equal(output, maps)
        output.square().mean().backward()
        assert layer.gamma.grad.abs() > 0


def test_words_are_attended_to_by_inner_products():
    layer, maps, words = build(CrossAttention(CHANNELS, WORD)), draw(2, CHANNELS, 3, 4), draw(2, 5, WORD, seed=2)
    is_word = torch.tensor([[True] * 5, [True, True, False, False, False]])
    weights = layer.weights(maps, words, is_word)
    logits = torch.einsum("bdp,btd->bpt", layer.query(maps).flatten(2), layer.key(words)) / layer.dim**0.5
    assert torch.allclose(weights[0], logits[0].softmax(1), atol=1e-5)
    assert torch.allclose(weights[1, :, :2], logits[1, :, :2].softmax(1), atol=1e-5)
    assert (weights[1, :, 2:] == 0).all()
    assert torch.allclose(weights.sum(2), torch.ones(2, 12), atol=1e-6)


def test_output_depends_on_words_but_not_on_what_follows_the_text():
    layer, maps, words = build(CrossAttention(CHANNELS, WORD)), draw(2, CHANNELS, 3, 4), draw(2, 5, WORD, seed=2)
    with torch.no_grad():
        layer.gamma.fill_(1)
    is_word = torch.tensor([True, True, False, False, False]).expand(2, -1)
    output = layer(maps, words, is_word)
    changed = words.clone()
    changed[:, 3] += 1
    assert torch.equal(layer(maps, changed, is_word), output)
    changed[:, 1] += 1
    assert not torch.allclose(layer(maps, changed, is_word), output, atol=1e-3)
