"""The table of words in the column names of other programs: whom a number belongs to, what it is, what is irrelevant.

One word of a name rarely says everything: `column_names` puts the words of a name together.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from equipoise.core.observations import Better

StepUnit = Literal["step", "image", "epoch", "row"]
MeaningKind = Literal["signal", "metric", "counter", "other", "unknown"]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a column contains.

    `name`: of a signal, the field of Signals, or "output_real" and "bare_real" for an output of the discriminator whose
    scale only its values show; of a metric its id; of a counter its unit; otherwise what the numbers are. `label`: the
    words of the name without a meaning of their own: "a" of D_A, "0" of d_loss_0. `statistic` and `split`: "epoch" and
    "val" of val/d_loss_epoch. `run`: the run in a table of several, "a" of "a - d_loss". `rank`: lower is preferred
    among columns for one signal: 0 totals, 1 losses, 2 other forms, 3 names with unknown words. `hints`: words that
    tell the kind of loss: "wasserstein", "classifier", "contrastive", "autoencoder".
    """

    kind: MeaningKind
    name: str
    better: Better = "lower"
    label: str = ""
    statistic: str = ""
    split: str = ""
    run: str = ""
    rank: int = 1
    hints: frozenset[str] = frozenset()


STEP_COLUMNS: Mapping[str, StepUnit] = {
    **dict.fromkeys(("step", "steps", "globalstep", "iter", "iters", "iteration", "iterations", "it", "i"), "step"),
    **dict.fromkeys(("itr", "itrs", "niter", "totaliters", "totalsteps", "totalbatch", "curiter", "curriter"), "step"),
    **dict.fromkeys(("update", "updates", "batch", "batches", "trainerglobalstep", "gstep", "minibatch"), "step"),
    **dict.fromkeys(("images", "nimg", "kimg", "progresskimg", "kimgs", "imagesseen"), "image"),
    **dict.fromkeys(("epoch", "epochs"), "epoch"),
}
"""Normalised names of columns that count rows; steps are preferred to images, images to epochs."""
RATE = re.compile(r"\b(?:ms|s|secs?|seconds?|min|it|imgs?|images?|samples?|tokens?)/\w+\W*$", re.IGNORECASE)
"""The end of a name that is a speed, such as "Run Time (ms/batch)"."""
NUMBER_WORDS = frozenset({"num", "number", "no", "nr", "idx", "index", "id"})
"""Words without a meaning of their own next to the name of a counter: Batch Num, num_updates."""
PLAYER_COUNTERS = frozenset({"step", "steps", "iter", "iters", "iteration", "iterations", "update", "updates"})
"""Words that count after the name of a player: D_step, gen_iterations."""

WORDS: Mapping[str, frozenset[str]] = {
    role: frozenset(words.split())
    for role, words in {
        # Whom a number belongs to. "dis": MUNIT, TextGAN; "netd": pix2pix; "critic": Keras and TensorFlow WGANs.
        "d": "d disc dis discriminator discriminators netd critic discrim modeld netdisc discr crit discrimator "
        "descriminator discriminater",
        # "aux gens": FOMM forks; "netg": pix2pix; "gens": BigGAN forks.
        "g": "g gen generator generators netg gens gener modelg netgen generater genrator",
        # "err": the DCGAN example of PyTorch; "cost": improved_wgan_training; "l": BasicSR (l_g_pix).
        "loss": "loss losses err error errors cost l objective obj lossfunc lose loses",
        # pix2pix: G_GAN; Coqui: loss_adv; BasicSR: l_g_gan; PyTorch-GAN: adv.
        "adversarial": "adv adversarial gan hinge vanilla wgan lsgan bce ragan rahinge",
        "real": "real true pos reals positive realimage",
        "fake": "fake gz generated neg fakes synthetic synth negative fakeimage",
        # SeqGAN: real_prob; others: prob_fake, p_real, sigmoid.
        "probability": "prob probability probs p sigmoid confidence",
        # VQGAN: logits_real; StyleGAN: Loss/scores/real.
        "logit": "logit logits scores critique",
        # yunjey's tutorials: real_score; BasicSR: out_d_real; pix2pixHD forks: pred_real.
        "output": "score out output outputs pred prediction predictions",
        # Keras-GAN: acc.; SeqGAN: d_accuracy; TextGAN: train_acc.
        "accuracy": "acc accuracy accuracies",
        "sign": "sign signs",
        "gradient": "grad gradient grads gradients gradnorm",
        "norm": "norm norms",
        "total": "total all sum tot overall full",
        # WGAN-GP: gp, gradient_penalty; StyleGAN: r1_penalty, pl_penalty, reg; lucidrains: GP, PL, CR.
        "penalty": "gp penalty r1 r2 reg regularization regularizer pl ppl path drift lecam dragan cr zcr epsilon eps "
        "gpen lipschitz wd decay",
        # pix2pix: L1; CycleGAN: cycle, idt; BasicSR: pix, percep, fea, style; RVC: fm, mel, kl; Coqui: duration, feat;
        # FOMM: perceptual, equivariance; VQGAN: rec, quant; CUT: NCE; pix2pixHD: Feat, VGG; GANomaly: con, enc.
        "term": "l1 l2 mse mae pix pixel percep perceptual fea feat feats feature features matching fm vgg style mel "
        "kl kld cycle cyc idt identity id rec recon reconstruction reconstruct recons tv dur duration equivariance "
        "equiv quant quantize commit commitment stft spec spectral lpips content consistency con enc encoder "
        "warp edge ssim ms color colour seg mask flow smooth landmark lm eye mouth age attr diversity ds sty f0 pitch "
        "energy align subband info mi mutual center huber charbonnier ctc attention guided entropy vq codebook",
        # ACGAN, StarGAN: cls, aux; ContraGAN, CUT: nce, contrastive, con.
        "classifier": "cls aux class classification classifier clf auxiliary cla op category label labels ce",
        "contrastive": "contrastive nce infonce simclr triplet cosface",
        "wasserstein": "wasserstein wassertein emd wdist wdistance",
        # What summarises the values of a column, or which data it is from.
        "statistic": "mean avg average ema smooth smoothed smoothened moving running cur current last median",
        "spread": "std stdev stddev var variance min max minimum maximum best worst lowest highest sem num count",
        "train": "train training trainer tr",
        "val": "val valid validation eval evaluation test dev testing heldout",
        # Words without a meaning: "net": pix2pix; "metrics": Lightning, TensorFlow; "tower": TF.
        "filler": "net network model metrics metric scalars scalar log logs value values optim optimizer tower the of "
        "per module params phase update on for in at to iter batch minibatch final weighted raw scaled opt stats "
        "progress percent item ptime",
        # Known and irrelevant: speed, time, memory, settings, rewards.
        "other": "lr learning rate time times timestamp data eta elapsed sec secs seconds second mem memory gpu cpu "
        "speed fps size weight weights lambda factor alpha beta gamma momentum resolution res depth stage nimg wall "
        "stamp remaining hours hour date seed temperature temp reward rewards rating sv sv0 svs lod tick "
        "param scaler ratio throughput samples tokens version rank world ptime",
    }.items()
}
"""Role of a word -> the words."""
ROLES: Mapping[str, tuple[str, ...]] = {
    word: tuple(role for role, words in WORDS.items() if word in words) for words in WORDS.values() for word in words
}

TRANSLATIONS: Mapping[str, str] = {
    word: english
    for english, words in {
        "loss": "verlust perte pertes p\u00e9rdida perdida "
        "perdita perda \u043f\u043e\u0442\u0435\u0440\u0438 \u635f\u5931",
        "discriminator": "diskriminator discriminateur discriminador \u5224\u522b\u5668 \u9274\u522b\u5668",
        "generator": "g\u00e9n\u00e9rateur generateur generador \u751f\u6210\u5668",
        "epoch": "epoche \u00e9poque epoque \u00e9poca epoca \u044d\u043f\u043e\u0445\u0430 \u8f6e",
        "step": "schritt \u00e9tape etape paso passo \u0448\u0430\u0433",
    }.items()
    for word in words.split()
}
"""Words of other languages -> the English ones: German, French, Spanish, Italian, Portuguese, Russian, Chinese."""

PARTS = frozenset(
    (
        *("s", "f", "p", "t", "mpd", "msd", "mrd", "mbd", "stft", "period", "scale", "multiscale", "ms", "global"),
        *("local", "patch", "image", "video", "frame", "img", "latent", "ref", "face"),
    )
)
"""Words of one of several discriminators against the same generator: HiFi-GAN (s, f), MoCoGAN (image, video)."""
TERMS: Mapping[str, str] = {
    "penalty": "a penalty",
    "gradient": "a statistic of gradients",
    "term": "a term of a loss",
    "classifier": "a term of a loss",
    "contrastive": "a term of a loss",
    "wasserstein": "an estimate of the Wasserstein distance",
    "other": "a setting, time or memory",
}
"""Role -> what a column is that has a word of this role: no signal."""

METRICS: Mapping[str, tuple[str, Better]] = {
    # Distances between distributions; "fd": of other features; "fvd": videos; "fad": audio; "ndb", "js": bins.
    **{name: (name, "lower") for name in ("fid", "kid", "fd", "kd", "swd", "sfid", "fvd", "fad", "fdd", "cfid", "mmd")},
    **{name: (name, "lower") for name in ("ndb", "jsd", "rfid", "gfid", "cmmd", "emd", "kvd")},
    **dict.fromkeys(("frechet inception distance", "frechet inception", "inception distance"), ("fid", "lower")),
    "frechet distance": ("fd", "lower"),
    "kernel inception distance": ("kid", "lower"),
    **dict.fromkeys(("is", "isc"), ("is", "higher")),
    **dict.fromkeys(("inception score", "inception"), ("inception_score", "higher")),
    **{name: (name, "higher") for name in ("precision", "recall", "density", "coverage", "prdc")},
    # Text (SeqGAN, TextGAN, LeakGAN).
    "nll": ("nll", "lower"),
    "nll div": ("nll_div", "higher"),  # of samples under their own model: low values are repeated samples
    "ppl": ("ppl", "lower"),  # also StyleGAN's perceptual path length, lower as well
    "perplexity": ("ppl", "lower"),
    "bleu": ("bleu", "higher"),
    "self bleu": ("self_bleu", "lower"),
    # Reconstruction of held-out data: super-resolution (BasicSR), translation, vocoders.
    **{
        name: (name, "higher") for name in ("psnr", "ssim", "pesq", "stoi", "utmos", "dnsmos", "mos", "sisdr", "visqol")
    },
    **{name: (name, "lower") for name in ("niqe", "mcd", "wer", "cer", "dists", "brisque", "lsd")},
    "lpips": ("lpips", "higher"),  # diversity; lower where it measures a reconstruction: see column_meanings
}
"""Words of a metric -> its id, and which direction is better."""
ALSO_TERMS = frozenset({"nll", "ssim", "lpips", "ppl", "mmd", "emd"})
"""Metrics that are terms of a loss where the name says loss: nll_loss of VQGAN."""
FEATURES = frozenset(
    {"dino", "dinov", "clip", "swav", "vgg", "digits", "cropped", "sliced", "mi", "latent", "reference"}
)
"""Words before a metric that make it another one, as in clip_fid."""
HELD_OUT_ERRORS = frozenset({"mel", "l1", "l2", "mse", "mae", "stft", "spec", "rec", "recon", "reconstruction"})
"""Terms that measure quality, lower better, where they are computed on held-out data (HiFi-GAN: val mel_spec_error)."""

PHRASES: Mapping[str, Meaning] = {
    # D(x) and D(G(z)) of the DCGAN example; after the slash, D(G(z)) once more after the generator's update.
    **dict.fromkeys(("d x", "dx"), Meaning("signal", "output_real", rank=0)),
    **dict.fromkeys(
        ("d g z", "d gz", "dgz", "d g z 1", "d gz 1", "dgz 1", "d g"), Meaning("signal", "output_fake", rank=0)
    ),
    **dict.fromkeys(("d g z 2", "d gz 2", "dgz 2"), Meaning("other", "D(G(z)) after the generator's update")),
    # StyleGAN2-ADA: Progress/augment; rosinality: augment; StudioGAN: ada_p; r_t: Karras 2020.
    **dict.fromkeys(
        ("augment", "ada p", "augment p", "aug p", "ada aug p", "augmentp"), Meaning("signal", "augment_p")
    ),
    **dict.fromkeys(("r t", "rt", "ada r t", "signs d", "d signs"), Meaning("signal", "sign_real", rank=2)),
    # SeqGAN: the generator's policy gradient.
    **dict.fromkeys(("pg loss", "pg"), Meaning("signal", "loss_g", rank=2)),
    # Coqui numbers its optimizers: 0 is the discriminator's, 1 the generator's.
    **{f"loss {index}": Meaning("other", f"loss of optimizer {index}") for index in range(2)},
    **{f"grad norm {index}": Meaning("other", f"gradient norm of optimizer {index}") for index in range(2)},
    # CycleGAN in TensorFlow: F is the second generator.
    **dict.fromkeys(("f", "f loss", "loss f"), Meaning("other", "loss of generator F")),
    # TimeGAN: u is the adversarial loss, s the supervised one, v that of the moments.
    "g loss u": Meaning("signal", "adversarial_g"),
    # MolGAN: G/loss_value is the error of its reward network.
    **dict.fromkeys(("g loss s", "g loss v", "g loss value"), Meaning("other", "a term of a loss")),
    **dict.fromkeys(
        ("w distance", "w dist", "w dis", "w d", "d w", "earth mover distance"),
        Meaning("other", "an estimate of the Wasserstein distance", hints=frozenset({"wasserstein"})),
    ),
    # BEGAN: the discriminator is an autoencoder, and k_t the weight of its error on fakes.
    **dict.fromkeys(
        ("k t", "kt", "m global", "convergence measure"),
        Meaning("other", "the balance of BEGAN", hints=frozenset({"autoencoder"})),
    ),
    # TextGAN: mle_loss; SeqGAN: pre-training.
    **dict.fromkeys(("mle loss", "gen mle loss", "pretrain loss"), Meaning("other", "loss of the pre-training")),
}
"""Whole names, as words without statistic and split, whose words alone would mislead."""
