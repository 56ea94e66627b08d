"""Closed loop on ranks: slows the player that is ahead, regularizes a discriminator that learns by heart. Any loss."""

from dataclasses import dataclass

from equipoise.controllers._rank import RankLaw

__all__ = ["Rank"]


@dataclass(frozen=True)
class Rank(RankLaw):
    """The law of :mod:`equipoise.controllers._rank`, alone."""
