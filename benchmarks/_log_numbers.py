"""Values that the collapse benchmark reads from the log of a run: losses and probabilities by epoch, and symptoms."""

import statistics

from equipoise.runs.run import EventLine

HEALTHY = {"loss_d": (0.5, 2.0), "loss_g": (2.0, 6.0), "real": (0.6, 0.8), "fake": (0.2, 0.5)}
"""The ranges that are called healthy in the source of these fixes."""


def numbers(line: EventLine) -> dict[str, float]:
    """Return the four values of a log line, means since the previous line."""
    signals, loss = line["signals"], line["loss"]
    return {
        "loss_d": loss["discriminator.adversarial"]["mean"],
        "loss_g": loss["generator.adversarial"]["mean"],
        "real": signals["probability_real"],
        "fake": signals["probability_fake"],
    }


def means(sensed: list[EventLine], after: int, until: int) -> dict[str, float]:
    """Return the means over the lines of an epoch, or the values of the next line if it has none."""
    lines = [line for line in sensed if after < line["step"] <= until]
    lines = lines or [next((line for line in sensed if line["step"] > until), sensed[-1])]
    return {name: statistics.fmean(numbers(line)[name] for line in lines) for name in HEALTHY}


def share_within(sensed: list[EventLine], name: str, after: int) -> float:
    """Return the share of the steps after the first epoch at which a value was in its healthy range."""
    low, high = HEALTHY[name]
    within = total = last = 0
    for line in sensed:
        steps, last = line["step"] - last, line["step"]
        if line["step"] > after:
            total += steps
            within += steps * (low <= numbers(line)[name] <= high)
    return within / total


def serious_symptoms(sensed: list[EventLine]) -> dict[str, int]:
    """Map each serious symptom to the first step at which it was serious."""
    first: dict[str, int] = {}
    for line in sensed:
        for finding in line["health"]["findings"]:
            if finding["severity"] >= 0.5:
                first.setdefault(finding["symptom"], line["step"])
    return first
