"""Project an image of your own: find the styles of a generator whose sample resembles it most."""

import argparse
from pathlib import Path

from equipoise.cli.arguments import Parser, add_json_flag, output_path, write_file
from equipoise.cli.commands._sampling import add_sampling_flags, sampling_of
from equipoise.cli.commands._trained_run import (
    add_force_flag,
    add_label_flag,
    add_run_arguments,
    label_of,
    load_generator,
)
from equipoise.cli.output import print_result

ORDER = 74
EXAMPLES = (
    "equipoise project runs/photos-stylegan2-1 me.png --out projected.png",
    "equipoise project runs/photos-stylegan2-1 me.jpg --fit crop --steps 300 --out me.png --styles me.safetensors",
)
JSON_KEYS: dict[str, str] = {
    "path": "the picture of image and projection",
    "styles": "the file of styles",
    "distance, start_distance": "distance of the projection from the image, and of the mean sample, which is the start",
    "distance_name": "efficientnet_lite0, vgg or pixels",
    "pixel_error": "root mean squared error of the projection, on [-1, 1]",
    "steps": "number of steps of the optimiser",
    "layers": "number of layers with a style",
}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `project`."""
    add_run_arguments(parser)
    parser.add_argument("image", metavar="IMAGE", help="an image file or an array of one image, of the size of samples")
    parser.add_argument("--out", required=True, metavar="PICTURE", help="output picture of image and projection (.png)")
    parser.add_argument(
        "--styles",
        metavar="PATH",
        help="output: the styles, .npz or .safetensors, for interpolate, arithmetic, mix and explore; "
        "default: PICTURE.npz",
    )
    parser.add_argument(
        "--fit",
        choices=("crop", "pad", "stretch"),
        help="how to resize an image of another size to the size of samples; default: another size is an error",
    )
    parser.add_argument("--steps", type=int, default=1000, metavar="N", help="steps of the optimiser; default: 1000")
    parser.add_argument(
        "--space",
        default="w+",
        metavar="w+|w",
        help="w+: a style per layer; w: one style for all layers, less similar but more typical; default: w+",
    )
    parser.add_argument(
        "--distance",
        default="efficientnet_lite0",
        metavar="efficientnet_lite0|vgg|pixels",
        help="what is compared: features of EfficientNet-Lite0, LPIPS on VGG-16, or pixels; "
        "default: efficientnet_lite0",
    )
    add_label_flag(parser, "here the class whose mean style is the start; default: the mean of all classes")
    add_sampling_flags(parser, truncation=False, psi=False, diffusion=False)
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the optimiser's noise; default: 0")
    add_force_flag(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Project the image; write the picture and the styles."""
    import torch

    from equipoise.cli.terminal import show_steps
    from equipoise.inference.projection import ProjectionSettings, project
    from equipoise.inference.style_files import STYLE_ENDINGS, encode_styles
    from equipoise.inference.style_space import require_styles
    from equipoise.inference.user_image import read_user_image
    from equipoise.report.style_sheets import draw_captioned
    from equipoise.runs.artifacts import check_overwrite

    path = output_path(args.out, (".png",))
    styles_path = output_path(args.styles or str(path.with_suffix(".npz")), STYLE_ENDINGS)
    check_overwrite([path, styles_path], force=args.force)
    settings = ProjectionSettings(
        steps=args.steps, space=args.space, distance=args.distance, seed=args.seed, label=label_of(args)
    )
    generator = load_generator(args)
    require_styles(generator)
    source = Path(args.image).expanduser()
    image = show_steps(read_user_image(Path(args.run), generator, source, args.fit), quiet=args.json)
    projection = show_steps(project(generator, image, settings, sampling_of(args)), quiet=args.json)
    pictures = torch.stack([image, projection.sample])
    write_file(styles_path, encode_styles(projection.styles[None], generator, styles_path.suffix.lower()))
    write_file(path, draw_captioned(pictures.numpy(), ["image", "projection"], 2))
    result = {
        "path": str(path),
        "styles": str(styles_path),
        "distance": projection.distance,
        "start_distance": projection.start_distance,
        "distance_name": projection.distance_name,
        "pixel_error": projection.pixel_error,
        "steps": settings.steps,
        "layers": len(projection.styles),
    }
    text = f"distance {projection.distance:.3g} ({projection.distance_name}), {projection.start_distance:.3g} at first"
    text += f"; root mean squared error of pixels {projection.pixel_error:.3g}"
    print_result(args.json, result, f"{text}\npicture: {path}\nstyles: {styles_path}")
    return 0
