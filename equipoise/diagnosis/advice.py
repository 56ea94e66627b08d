"""What a symptom means, and what to do about it: with the knobs of this package, or in a loop of one's own."""

from collections.abc import Mapping
from typing import NamedTuple


class Advice(NamedTuple):
    """`meaning`: the symptom in a line. `change`: what to turn. `own`: the same in a loop of one's own."""

    meaning: str
    change: str
    own: str


ADVICE: Mapping[str, Advice] = {
    "divergence": Advice(
        "a loss or a gradient is not a finite number; all that follows is lost",
        "go back to a checkpoint from before, halve lr_g and lr_d, and turn r1_gamma or gp_weight up if it was off",
        "stop at the first NaN, reload, clip gradients or halve both learning rates; in fp16 look at the loss scale",
    ),
    "discriminator_overpowering": Advice(
        "the discriminator is all but never wrong and the generator does not live on it",
        "turn augment_p up to 0.3 or more (first of all with little data), then r1_gamma up, then lr_d down to a "
        "quarter; real_label_low 0.8 and instance_noise 0.05 help at the start",
        "augment reals and fakes alike before the discriminator (DiffAugment), add R1, train it with a smaller "
        "learning rate; label smoothing hides the number more than it cures",
    ),
    "vanishing_generator_gradient": Advice(
        "the generator's gradient is a small part of what it was while the discriminator wins",
        "use a loss whose gradient lasts (non_saturating, hinge, or wasserstein with gp_weight); "
        "r1_gamma up, lr_d down",
        "train the generator on -log D(G(z)), not on log(1 - D(G(z))); add R1 or a gradient penalty",
    ),
    "collapse": Advice(
        "quality was lost and has not come back",
        "go back to the best checkpoint and change something before going on: augment_p up, r1_gamma twice to four "
        "times as large, lr_d down; the weights from before are the best there will be without a change",
        "keep the checkpoint of the best FID; from there, more augmentation, a larger R1 weight, a smaller learning "
        "rate of the discriminator, or spectral normalisation",
    ),
    "mode_collapse": Advice(
        "the generator's samples are all alike",
        "go back to before it began; turn r1_gamma or gp_weight up, lr_g down, feature_matching_weight to 1",
        "add R1 or a gradient penalty, lower the generator's learning rate, let the discriminator see several samples "
        "at once (minibatch standard deviation, PacGAN)",
    ),
    "mode_dropping": Advice(
        "kinds of reals that had fakes near them have none any more",
        "turn r1_gamma up and lr_g down; discriminator_steps 2; a longer ema_half_life evens out what comes and goes",
        "give the discriminator more updates or a smaller generator learning rate; average the generator's weights",
    ),
    "discriminator_overfitting": Advice(
        "the discriminator scores reals it trains on above reals it has not seen: it learns them by heart",
        "turn augment_p up until rank_train_held_out falls (0.2 to 0.6), lecam_weight up, r1_gamma up",
        "augment reals and fakes alike (ADA, DiffAugment), use a smaller discriminator, or get more data",
    ),
    "memorisation": Advice(
        "samples are copies of single training reals",
        "stop at an earlier checkpoint; augment_p up, r1_gamma up; a smaller generator has less room for copies",
        "compare samples with their nearest training images before using them; stop earlier, augment, get more data",
    ),
    "oscillation": Advice(
        "the players go round in circles instead of coming to rest",
        "turn r1_gamma or gp_weight up, beta1 down to 0, both learning rates down; a longer ema_half_life",
        "lower momentum (Adam's beta1 0 to 0.5), add R1 or a gradient penalty, average the generator's weights",
    ),
    "discriminator_forgetting": Advice(
        "from one reading to the next the discriminator lost most of what told reals from fakes",
        "go back to the checkpoint before it; if it comes again, lower both learning rates",
        "go back to weights from before it; look for what replaced or ruined its weights or its optimizer's state",
    ),
    "dead_discriminator": Advice(
        "the discriminator tells reals from fakes no better than chance though they differ, so nobody "
        "teaches the generator",
        "turn lr_d up, augment_p and instance_noise down, r1_gamma down; replace weight clipping by gp_weight",
        "check that its gradient reaches its weights; raise its learning rate, lower penalties, noise and clipping",
    ),
    "plateau": Advice(
        "the metric has not got better for a good part of the run",
        "stop, and take the best checkpoint; or let learning rates fall (annealed) to win the last few per cent",
        "stop, or let both learning rates fall; the best checkpoint is the one to keep",
    ),
    "equilibrium": Advice(
        "the discriminator no longer tells reals from fakes; no ailment",
        "nothing to do; --stop-at-equilibrium ends a run here",
        "nothing to do; look at the samples, and stop if they please",
    ),
}
"""By symptom, in the words of the command line, the report and the docs."""
