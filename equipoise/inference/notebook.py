"""Display of a generator in notebooks: what it is, and a few of its samples."""

import torch
from PIL import Image
from torch import Tensor

from equipoise.core.html_display import PLOT_SIZE, draw_lines, draw_points, format_display
from equipoise.inference.generator import Generator
from equipoise.runs.artifacts import encode_png, make_grid

IMAGES, TEXTS, SEQUENCES, POINTS = 16, 8, 4, 256
"""Number of samples that are shown, by their kind."""


def generator_html(generator: Generator) -> str:
    """Return the model, the step, the shape and the parameters of a generator and samples of seed 0, as HTML.

    A model that translates images is shown without samples: it needs input images.
    """
    model, spec = generator.model, generator.spec
    facts = {
        "model": model.name,
        "weights of step": f"{generator.step:,}",
        "samples": " × ".join(map(str, spec.shape)),
        "input": "" if model.source is None else " × ".join(map(str, model.source)),
        "classes": _describe_classes(generator),
        "parameters": f"{_count_parameters(generator):,}",
    }
    title = "equipoise.Generator"
    if model.source is not None:
        return format_display(title, facts)
    if spec.is_image:
        return format_display(title, facts, png=_draw_images(generator.sample(IMAGES)))
    if spec.vocabulary is not None:
        rows = generator.sample(TEXTS).long().tolist()
        return format_display(title, facts, texts=[spec.vocabulary.decode(row) for row in rows])
    if spec.is_sequence:
        return format_display(title, facts, svg=draw_lines(generator.sample(SEQUENCES)[:, 0].tolist()))
    points = generator.sample(POINTS)
    return format_display(title, facts, svg=draw_points(points.tolist()) if points.shape[1:] == (2,) else "")


def _draw_images(samples: Tensor) -> bytes:
    """Return images as one PNG; small ones are enlarged by a whole number to about PLOT_SIZE pixels."""
    sheet = make_grid(samples.cpu().numpy())
    factor = max(1, PLOT_SIZE // max(sheet.size))
    return encode_png(sheet.resize((sheet.width * factor, sheet.height * factor), Image.Resampling.NEAREST))


def _describe_classes(generator: Generator) -> str:
    count, names = generator.model.num_classes, generator.spec.class_names
    listed = f": {', '.join(names[:10])}{', …' if len(names) > 10 else ''}" if names else ""
    return f"{count}{listed}" if count else ""


@torch.no_grad()
def _count_parameters(generator: Generator) -> int:
    """Return the number of parameters of the networks that generate."""
    networks = [generator.networks[name] for name in generator.model.averaged]
    return sum(parameter.numel() for network in networks for parameter in network.parameters())
