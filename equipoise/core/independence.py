"""A run is not evaluated by the features it was trained with: samples that please them need not look better.

Kynkäänniemi 2023, "The Role of ImageNet Classes in Fréchet Inception Distance", sections 4 and 5, on Projected GAN.
"""

from collections.abc import Mapping

from equipoise.errors import SettingError


def check_not_trained_with(frozen: Mapping[str, str], reported: Mapping[str, str | None], model: str) -> None:
    """Raise SettingError if a reported metric uses the features of a frozen network of the model.

    `frozen`: names of networks -> digests of their weights. `reported`: names of metrics -> digests of their features,
    None without a network. One digest may be the first digits of the other.
    """
    for name, digest in reported.items():
        for network, own in frozen.items():
            if digest is not None and (own.startswith(digest) or digest.startswith(own)):
                raise SettingError(
                    f"{name} cannot be reported: {model} was trained with its features (the frozen network "
                    f"'{network}'); use a metric with other features, such as fd_mobilenet_v2 or precision:pixels"
                )
