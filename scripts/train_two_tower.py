"""Rebuild equipoise/metrics/two_tower.safetensors: the networks of the retrieval metrics.

    python scripts/train_two_tower.py

Trains on augmented training emoji of the package with their captions, so that a picture is nearer to its own caption
than to the others of its batch, and a caption to its picture (Radford et al. 2021, CLIP, figure 3), and measures on
held-out pairs. One thread, 90 seconds of CPU; the same seed writes the same bytes on the same machine with the
same version of torch. Weights are stored in 16 bits. The metadata have a single entry, because safetensors does not
preserve their order.
"""

import hashlib
import json
import math

import torch
from safetensors.torch import save
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy, pad

from equipoise.data.openmoji import OpenMoji
from equipoise.metrics._retrieval import caption_ranks
from equipoise.metrics._two_tower import FILE, SIZE, TwoTowers

SEED = 0
EPOCHS = 60
BATCH_SIZE = 196
PEAK_LR = 4e-3
WEIGHT_DECAY = 0.05
SHIFT = 3  # pixels
NOISE = 0.1  # on [-1, 1]
CONTRAST = 0.15
DROPPED = 0.2  # probability of a word to be left out


def augment(images: Tensor, generator: Generator) -> Tensor:
    """Mirror half of the images (B, 3, 32, 32), shift all, change their contrast and add noise, by random amounts."""
    count = len(images)
    uniform = torch.rand(3, count, 1, 1, 1, generator=generator)
    images = torch.where(uniform[0] < 0.5, images.flip(3), images)
    padded = pad(images, (SHIFT,) * 4, mode="replicate")
    top, left = torch.randint(2 * SHIFT + 1, (2, count), generator=generator).tolist()
    moved = torch.stack([image[:, y : y + SIZE, x : x + SIZE] for image, y, x in zip(padded, top, left, strict=True)])
    noise = NOISE * uniform[1] * torch.randn(images.shape, generator=generator)
    return (1 + CONTRAST * (2 * uniform[2] - 1)) * moved + noise


def drop_words(captions: Tensor, generator: Generator) -> Tensor:
    """Replace some words of captions (B, T) by the end token, but never the last word that is left."""
    is_dropped = torch.rand(captions.shape, generator=generator) < DROPPED
    dropped = captions.masked_fill(is_dropped, 0)
    return torch.where((dropped != 0).any(1, keepdim=True), dropped, captions)


def train() -> TwoTowers:
    """Return the networks after all epochs, in evaluation mode."""
    torch.manual_seed(SEED)
    generator = Generator().manual_seed(SEED)
    data = OpenMoji(SIZE, captions=True)
    captions = data.spec.captions
    assert captions is not None
    stream = data.stream("train", BATCH_SIZE, SEED)
    steps = EPOCHS * data.count("train") // BATCH_SIZE
    towers = TwoTowers(len(captions.vocabulary)).to(memory_format=torch.channels_last)
    torch.nn.init.normal_(towers.text.embedding, std=1 / math.sqrt(towers.text.embedding.shape[1]), generator=generator)
    optimizer = torch.optim.AdamW(towers.parameters(), lr=PEAK_LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK_LR, total_steps=steps, pct_start=0.2)
    for step in range(steps):
        batch = stream.batch(step)
        images = towers.image(augment(batch.real, generator))
        texts = towers.text(drop_words(batch.condition, generator))
        logits = towers.log_scale.exp() * images @ texts.T
        own = torch.arange(len(logits))
        loss = (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % (steps // 8) == 0:
            print(f"step {step + 1} of {steps}: loss {loss.item():.3f}", flush=True)
    return towers.eval()


@torch.inference_mode()
def measure(towers: TwoTowers, split: str) -> dict[str, float]:
    """Return the share of pictures of a split whose own caption is the nearest, or among the nearest ten."""
    data = OpenMoji(SIZE, captions=True)
    batch = data.stream(split, data.count(split), 0).batch(0)
    distinct, own = batch.condition.unique(dim=0, return_inverse=True)
    ranks = caption_ranks(towers.image(batch.real), towers.text(distinct), own)
    result = {f"R@{k}": round((ranks < k).double().mean().item(), 4) for k in (1, 10)}
    return result | {"captions": len(distinct), "pictures": len(own)}


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    towers = train()
    train_shares, held_out = measure(towers, "train"), measure(towers, "held_out")
    captions = OpenMoji(SIZE, captions=True).spec.captions
    assert captions is not None
    about = {"seed": SEED, "epochs": EPOCHS, "train": train_shares, "held_out": held_out}
    weights = {name: tensor.contiguous() for name, tensor in towers.state_dict().items()}
    weights = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    content = save(weights, metadata={"about": json.dumps(about | {"words": captions.vocabulary.words})})
    FILE.write_bytes(content)
    print(f"{sum(parameter.numel() for parameter in towers.parameters())} weights")
    print(f"training pairs {train_shares}, held-out pairs {held_out}")
    print(f"{FILE.name}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")
    print("If the digest changed, update it in equipoise/metrics/_two_tower.py.")


if __name__ == "__main__":
    main()
