"""The few numbers by which a collapse is called, in one place, so that they can be chosen and checked as one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Criteria:
    """Chosen on 25 published training logs, leaving one run out at a time: benchmarks/field_logs.md.

    Losses: the discriminator has won while its loss is `overwhelmed` or less of its highest level and the generator's
    is `risen` or more, as a share, above its lowest; having won for `held` of the run so far is a collapse where no
    metric says otherwise.

    Metrics, as how many times as bad as the best so far: `lost` by itself; `lost_twice` at two measurements in a row;
    `lost_with_losses` while the discriminator has won; `lost_with_time` when it has won for `held` of the run so far.
    """

    overwhelmed: float = 0.2
    risen: float = 0.3
    held: float = 0.5
    lost: float = 1.5
    lost_twice: float = 1.25
    lost_with_losses: float = 1.15
    lost_with_time: float = 1.05


CRITERIA = Criteria()
