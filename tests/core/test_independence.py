"""A run is not evaluated by the features it was trained with."""

import pytest

from equipoise.core.independence import check_not_trained_with
from equipoise.errors import SettingError

FROZEN = {"feature_network": "579344248a93e230"}


def test_features_of_a_frozen_network_are_refused_by_digest() -> None:
    check_not_trained_with({}, {"fd_efficientnet_lite0": "579344248a93e230"}, "dcgan")
    check_not_trained_with(FROZEN, {"fid": "aa", "fd_pixels": None}, "projected")
    with pytest.raises(
        SettingError, match=r"precision cannot be reported: projected was trained .*feature_network"
    ) as raised:
        check_not_trained_with(FROZEN, {"fid": "aa", "precision": "579344248a93e230"}, "projected")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("digest", ["57934424", "579344248a93e23026e6b78f"])
def test_first_digits_of_a_digest_are_enough(digest: str) -> None:
    with pytest.raises(SettingError, match="use a metric with other features"):
        check_not_trained_with(FROZEN, {"fd": digest}, "projected")
