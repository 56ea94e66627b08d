"""Names of columns as real programs write them: what each column is taken for, alone and together with the others.

The names are those of the programs; the numbers are made up.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pytest

from equipoise.diagnosis.columns.column_names import classify_name, match_metric, match_signal
from equipoise.diagnosis.logs.interpretation import interpret
from equipoise.diagnosis.logs.log_columns import Column, LogColumns

ROWS = 12
WAVE = 1 + 0.05 * np.sin(np.arange(ROWS))


class Program(NamedTuple):
    """A program: typical values of its columns, and what they must be taken for.

    A number varies by 5 %, a pair alternates. `expected`: signal or metric -> column, "a + b" for a sum.
    """

    name: str
    columns: Mapping[str, float | tuple[float, float]]
    expected: Mapping[str, str]
    game: str = ""
    percent: Sequence[str] = ()


def make_log(columns: Mapping[str, float | tuple[float, float]], percent: Sequence[str] = ()) -> LogColumns:
    rows = np.arange(ROWS)
    table = {"step": Column(rows, rows * 100.0)}
    for name, typical in columns.items():
        values = typical * WAVE if isinstance(typical, int | float) else np.resize(np.array(typical), ROWS)
        table[name] = Column(rows, np.asarray(values, np.float64))
    return LogColumns("table", table, ROWS, percent=frozenset(percent))


PROGRAMS = [
    Program(
        "pix2pix",
        {"time": 0.11, "data": 0.01, "G_GAN": 1.6, "G_L1": 38.0, "D_real": 0.4, "D_fake": 0.35},
        {
            **{"loss_g": "G_GAN", "adversarial_g": "G_GAN", "loss_d": "D_real + D_fake"},
            **{"loss_d_real": "D_real", "loss_d_fake": "D_fake"},
        },
    ),
    Program(
        "pix2pix with the Wasserstein loss",
        {"G_GAN": 5.0, "G_L1": 30.0, "D_real": -7.0, "D_fake": 5.0},
        {
            **{"loss_g": "G_GAN", "adversarial_g": "G_GAN", "loss_d": "D_real + D_fake"},
            **{"loss_d_real": "D_real", "loss_d_fake": "D_fake"},
        },
    ),
    Program(
        "pix2pixHD",
        {"G_GAN": 1.0, "G_GAN_Feat": 8.0, "G_VGG": 5.0, "D_real": 0.5, "D_fake": 0.6},
        {
            **{"loss_g": "G_GAN", "adversarial_g": "G_GAN", "loss_d": "D_real + D_fake"},
            **{"loss_d_real": "D_real", "loss_d_fake": "D_fake"},
        },
    ),
    Program(
        "SPADE",
        {"KLD": 0.1, "GAN": 0.9, "GAN_Feat": 9.0, "VGG": 7.0, "D_Fake": 0.8, "D_real": 0.9},
        {
            **{"loss_g": "GAN", "adversarial_g": "GAN", "loss_d": "D_real + D_Fake"},
            **{"loss_d_real": "D_real", "loss_d_fake": "D_Fake"},
        },
    ),
    Program(
        "CUT",
        {"G_GAN": 0.4, "D_real": 0.2, "D_fake": 0.2, "G": 4.0, "NCE": 3.5, "NCE_Y": 3.0},
        {
            **{"loss_g": "G", "adversarial_g": "G_GAN", "loss_d": "D_real + D_fake"},
            **{"loss_d_real": "D_real", "loss_d_fake": "D_fake"},
        },
    ),
    Program(
        "DeblurGAN",
        {"G_GAN": -5.0, "G_L1": 0.1, "D_real+fake": -1.0},
        {"loss_g": "G_GAN", "adversarial_g": "G_GAN", "loss_d": "D_real+fake"},
    ),
    Program(
        "ESRGAN",
        {
            **{"l_g_pix": 0.002, "l_g_fea": 0.9, "l_g_gan": 0.03, "l_d_real": 0.01, "l_d_fake": 0.006},
            **{"D_real": -20.0, "D_fake": -30.0, "lr": 1e-4},
        },
        {
            **{"loss_g": "l_g_gan", "adversarial_g": "l_g_gan", "loss_d": "l_d_real + l_d_fake"},
            **{"loss_d_real": "l_d_real", "loss_d_fake": "l_d_fake", "logit_real": "D_real", "logit_fake": "D_fake"},
        },
    ),
    Program(
        "BasicSR",
        {
            **{"l_g_pix": 0.01, "l_g_percep": 1.5, "l_g_gan": 0.1, "l_d_real": 0.4, "out_d_real": 2.0},
            **{"l_d_fake": 0.3, "out_d_fake": -2.0, "psnr": 25.0, "ssim": 0.7, "lpips": 0.2},
        },
        {
            **{"loss_g": "l_g_gan", "adversarial_g": "l_g_gan", "loss_d": "l_d_real + l_d_fake"},
            **{"loss_d_real": "l_d_real", "loss_d_fake": "l_d_fake"},
            **{
                "logit_real": "out_d_real",
                "logit_fake": "out_d_fake",
                "psnr": "psnr",
                "ssim": "ssim",
                "lpips": "lpips",
            },
        },
    ),
    Program(
        "GFPGAN",
        {"l_g_pix": 1.0, "l_g_gan": 0.4, "l_d": 1.2, "real_score": 0.8, "fake_score": -0.8, "l_d_r1": 0.1},
        {
            **{"loss_g": "l_g_gan", "adversarial_g": "l_g_gan", "loss_d": "l_d"},
            **{"logit_real": "real_score", "logit_fake": "fake_score"},
        },
    ),
    Program(
        "SRGAN of tutorials",
        {"Loss_D": 0.9, "Loss_G": 0.01, "D(x)": 0.6, "D(G(z))": 0.4},
        {
            **{"loss_g": "Loss_G", "loss_d": "Loss_D"},
            **{"probability_real": "D(x)", "probability_fake": "D(G(z))"},
        },
    ),
    Program(
        "SRGAN-PyTorch",
        {"D loss": 0.9, "G loss": 0.01, "D(HR)": 0.9, "D(SR)": 0.1, "PSNR": 25.0},
        {
            **{"loss_d": "D loss", "loss_g": "G loss", "psnr": "PSNR"},
            **{"probability_real": "D(HR)", "probability_fake": "D(SR)"},
        },
    ),
    Program(
        "DCGAN example of PyTorch",
        {"#1": 3, "Loss_D": 0.9, "Loss_G": 2.0, "D(x)": 0.7, "D(G(z))": 0.3, "D(G(z)) 2": 0.2},
        {
            **{"loss_g": "Loss_G", "loss_d": "Loss_D"},
            **{"probability_real": "D(x)", "probability_fake": "D(G(z))"},
        },
    ),
    Program(
        "hinge loss with the print of the DCGAN example",
        {"errD": 0.9, "errG": -0.5, "D_x": (1.5, -0.2), "D_G_z1": -1.2},
        {"loss_g": "errG", "loss_d": "errD", "logit_real": "D_x", "logit_fake": "D_G_z1"},
    ),
    Program(
        "TensorBoard of DCGAN tutorials",
        {"loss_gen": 2.0, "loss_dis": 0.6, "d_x_mean": 0.8, "d_g_z_mean": 0.2},
        {
            **{"loss_g": "loss_gen", "loss_d": "loss_dis"},
            **{"probability_real": "d_x_mean", "probability_fake": "d_g_z_mean"},
        },
    ),
    Program(
        "yunjey's tutorials",
        {"d_loss": 0.9, "g_loss": 2.0, "real_score": 0.8, "fake_score": 0.2},
        {
            **{"loss_g": "g_loss", "loss_d": "d_loss"},
            **{"probability_real": "real_score", "probability_fake": "fake_score"},
        },
    ),
    Program(
        "tutorials that print accuracies as D_Real and D_Fake",
        {"G_Loss": 3.0, "D_Loss": 0.08, "D_Real": 0.94, "D_Fake": 0.92},
        {"loss_g": "G_Loss", "loss_d": "D_Loss", "accuracy_d": "D_Real + D_Fake"},
    ),
    Program(
        "outputs next to the loss of the generator alone",
        {"g_loss": 1.5, "D_real": 0.8, "D_fake": 0.2},
        {"loss_g": "g_loss", "probability_real": "D_real", "probability_fake": "D_fake"},
    ),
    Program("accuracy on reals alone", {"g_loss": 1.5, "D_real_acc": 0.9}, {"loss_g": "g_loss"}),
    Program(
        "losses of both sides next to their half sum",
        {"loss_D": 0.5, "loss_G": 1.5, "D_real": 0.45, "D_fake": 0.55},
        {"loss_g": "loss_G", "loss_d": "loss_D", "loss_d_real": "D_real", "loss_d_fake": "D_fake"},
    ),
    Program(
        "Wasserstein GAN with outputs",
        {"d_loss": -3.0, "g_loss": 1.0, "d_real": 2.0, "d_fake": -1.0},
        {"loss_g": "g_loss", "loss_d": "d_loss", "logit_real": "d_real", "logit_fake": "d_fake"},
    ),
    Program(
        "Keras-GAN",
        {"D loss": 0.3, "acc": 81.0, "G loss": 0.8},
        {"loss_g": "G loss", "loss_d": "D loss", "accuracy_d": "acc"},
        percent=("acc",),
    ),
    Program(
        "AC-GAN of Keras-GAN",
        {"D loss": 0.3, "acc": 81.0, "op_acc": 20.0, "G loss": 0.8},
        {"loss_g": "G loss", "loss_d": "D loss", "accuracy_d": "acc"},
        percent=("acc", "op_acc"),
    ),
    Program(
        "Keras tutorials with d1 and d2",
        {"d1": 0.6, "d2": 0.7, "g": 0.8},
        {"loss_d_real": "d1", "loss_d_fake": "d2", "loss_d": "d1 + d2", "loss_g": "g"},
    ),
    Program(
        "Keras tutorials with a critic",
        {"c1": -3.0, "c2": 2.5, "g": -4.0},
        {"loss_d_real": "c1", "loss_d_fake": "c2", "loss_d": "c1 + c2", "loss_g": "g"},
    ),
    Program(
        "Keras book",
        {"d_loss": 0.6, "a_loss": 0.8},
        {"loss_d": "d_loss", "loss_g": "a_loss", "adversarial_g": "a_loss"},
    ),
    Program(
        "advanced Keras book",
        {"discriminator loss": 0.6, "acc": 0.7, "adversarial loss": 0.8, "acc 2": 0.3},
        {
            "loss_d": "discriminator loss",
            "accuracy_d": "acc",
            "loss_g": "adversarial loss",
            "adversarial_g": "adversarial loss",
        },
    ),
    Program(
        "Raschka's tutorials",
        {"Gen/Dis Loss": 1.5, "Gen/Dis Loss 2": 0.6},
        {"loss_g": "Gen/Dis Loss", "loss_d": "Gen/Dis Loss 2"},
    ),
    Program(
        "Keras fit",
        {"d_loss": 0.6, "g_loss": 0.7, "val_d_loss": 0.9, "val_g_loss": 0.5},
        {"loss_d": "d_loss", "loss_g": "g_loss"},
    ),
    Program("DCGAN-tensorflow", {"time": 5, "d_loss": 1.2, "g_loss": 0.8}, {"loss_d": "d_loss", "loss_g": "g_loss"}),
    Program(
        "pix2pix of TensorFlow",
        {"discrim_loss": 0.8, "gen_loss_GAN": 1.5, "gen_loss_L1": 0.2},
        {"loss_d": "discrim_loss", "loss_g": "gen_loss_GAN", "adversarial_g": "gen_loss_GAN"},
    ),
    Program(
        "PyTorch-GAN, CycleGAN",
        {"Batch": 3, "D loss": 0.2, "G loss": 4.0, "adv": 0.5, "cycle": 0.2, "identity": 0.1},
        {"loss_d": "D loss", "loss_g": "G loss", "adversarial_g": "adv"},
    ),
    Program(
        "martinarjovsky's WGAN",
        {"Loss_D": -1.5, "Loss_G": 0.6, "Loss_D_real": -0.7, "Loss_D_fake": 0.7},
        {
            **{"loss_d": "Loss_D", "loss_g": "Loss_G"},
            **{"loss_d_real": "Loss_D_real", "loss_d_fake": "Loss_D_fake"},
        },
    ),
    Program("improved_wgan_training", {"disc cost": -1.3, "time": 0.1}, {"loss_d": "disc cost"}),
    Program(
        "WGAN tutorials",
        {"critic_loss": -1.3, "generator_loss": 0.3},
        {"loss_d": "critic_loss", "loss_g": "generator_loss"},
    ),
    Program("WGAN with the letter C", {"C_loss": -1.3, "G_loss": 0.3}, {"loss_d": "C_loss", "loss_g": "G_loss"}),
    Program(
        "WGAN with the distance alone",
        {"Wasserstein distance": 1.3, "loss_G": 0.3},
        {"loss_d": "Wasserstein distance", "loss_g": "loss_G"},
    ),
    Program("lucidrains", {"G": 1.5, "D": 0.2, "GP": 0.1, "PL": 0.03}, {"loss_d": "D", "loss_g": "G"}),
    Program(
        "rosinality's StyleGAN2",
        {"d": 0.9, "g": 0.8, "r1": 0.1, "path": 0.01, "mean path": 0.02, "augment": 0.1},
        {"loss_d": "d", "loss_g": "g", "augment_p": "augment"},
    ),
    Program(
        "StyleGAN2-ADA",
        {
            **{"Loss/G/loss": 0.9, "Loss/D/loss": 1.0, "Loss/signs/real": 0.4, "Loss/signs/fake": -0.4},
            **{"Loss/scores/real": 0.3, "Loss/scores/fake": 0.2, "Progress/augment": 0.2, "Loss/r1_penalty": 0.1},
            **{"Loss/D/reg": 0.1, "Loss/pl_penalty": 0.1, "fid50k_full": 30.0, "Timing/total_sec": 9.0},
        },
        {
            **{"loss_g": "Loss/G/loss", "loss_d": "Loss/D/loss", "sign_real": "Loss/signs/real"},
            **{"sign_fake": "Loss/signs/fake", "logit_real": "Loss/scores/real", "logit_fake": "Loss/scores/fake"},
            **{"augment_p": "Progress/augment", "fid50k_full": "fid50k_full"},
        },
    ),
    Program(
        "PyTorch-StudioGAN",
        {
            **{"Progress": 2.0, "ada_p": 0.1, "Discriminator_loss": 1.0, "Generator_loss": 0.5, "FID score": 30.0},
            **{"Best FID score": 29.0, "Inception score": 7.0},
        },
        {
            **{"augment_p": "ada_p", "loss_d": "Discriminator_loss", "loss_g": "Generator_loss"},
            **{"fid": "FID score", "inception_score": "Inception score"},
        },
    ),
    Program(
        "BigGAN",
        {"IS_mean": 8.0, "IS_std": 0.1, "FID": 9.0, "G_loss": 0.5, "D_loss_real": 0.5, "D_loss_fake": 0.6},
        {
            **{"is": "IS_mean", "fid": "FID", "loss_g": "G_loss", "loss_d": "D_loss_real + D_loss_fake"},
            **{"loss_d_real": "D_loss_real", "loss_d_fake": "D_loss_fake"},
        },
    ),
    Program(
        "StarGAN",
        {
            **{"D/loss_real": -5.0, "D/loss_fake": 3.0, "D/loss_cls": 0.4, "D/loss_gp": 0.1},
            **{"G/loss_fake": -3.0, "G/loss_rec": 0.3, "G/loss_cls": 0.5},
        },
        {
            **{"loss_d": "D/loss_real + D/loss_fake", "loss_d_real": "D/loss_real", "loss_d_fake": "D/loss_fake"},
            **{"loss_g": "G/loss_fake", "adversarial_g": "G/loss_fake"},
        },
    ),
    Program(
        "RVC",
        {"loss_disc": 3.9, "loss_gen": 2.5, "loss_fm": 8.0, "loss_mel": 19.0, "loss_kl": 1.5},
        {"loss_d": "loss_disc", "loss_g": "loss_gen"},
    ),
    Program(
        "TensorBoard of VITS",
        {"loss/g/total": 40.0, "loss/d/total": 2.5, "loss/g/fm": 5.0, "loss/g/mel": 20.0, "learning_rate": 2e-4},
        {"loss_d": "loss/d/total", "loss_g": "loss/g/total"},
    ),
    Program(
        "so-vits-svc",
        {"Losses": 2.4, "Losses 2": 2.6, "Losses 3": 9.0, "Losses 4": 20.0, "Losses 5": 0.7, "lr": 1e-4},
        {"loss_d": "Losses", "loss_g": "Losses 2", "adversarial_g": "Losses 2"},
    ),
    Program(
        "text of VITS",
        {f"#{at}": value for at, value in enumerate((2.3, 2.1, 8.4, 17.2, 1.3, 0.9, 200, 2e-4), start=1)},
        {"loss_d": "#1", "loss_g": "#2", "adversarial_g": "#2"},
    ),
    Program("HiFi-GAN", {"Gen Loss Total": 40.0, "Mel-Spec. Error": 0.5, "s/b": 0.6}, {"loss_g": "Gen Loss Total"}),
    Program(
        "HiFi-GAN with both discriminators",
        {
            **{"loss_disc_s": 1.0, "loss_disc_f": 2.0, "loss_disc_all": 3.0, "loss_gen_s": 2.0, "loss_gen_f": 3.0},
            **{"loss_gen_all": 40.0, "loss_mel": 20.0, "validation/mel_spec_error": 0.4},
        },
        {"loss_d": "loss_disc_all", "loss_g": "loss_gen_all", "mel_spec_error": "validation/mel_spec_error"},
    ),
    Program(
        "several discriminators without a total",
        {"loss_disc_s": 1.0, "loss_disc_f": 2.0, "loss_gen_s": 2.0, "loss_gen_f": 3.0},
        {"loss_d": "loss_disc_s + loss_disc_f", "loss_g": "loss_gen_s + loss_gen_f"},
    ),
    Program(
        "discriminators at several scales",
        {"d_loss_0": 0.5, "d_loss_1": 0.6, "d_loss_2": 0.4, "d_loss_3": 0.5, "g_loss": 3.0},
        {"loss_d": "d_loss_0 + d_loss_1 + d_loss_2 + d_loss_3", "loss_g": "g_loss"},
    ),
    Program(
        "Coqui TTS",
        {
            **{"loss_disc": 2.4, "loss_disc_real_0": 0.2, "loss_disc_real_1": 0.2, "loss_0": 2.4, "grad_norm_0": 9.0},
            **{
                "loss_gen": 2.1,
                "loss_kl": 1.5,
                "loss_feat": 4.0,
                "loss_mel": 20.0,
                "loss_1": 28.0,
                "grad_norm_1": 50.0,
            },
            **{"current_lr_0": 2e-4, "step_time": 0.6, "loader_time": 0.1},
        },
        {
            **{"loss_d": "loss_0", "loss_g": "loss_1", "adversarial_g": "loss_gen"},
            **{"loss_d_real": "loss_disc_real_0 + loss_disc_real_1"},
            **{"gradient_norm_d": "grad_norm_0", "gradient_norm_g": "grad_norm_1"},
        },
    ),
    Program(
        "ParallelWaveGAN",
        {
            **{"train/adversarial_loss": 0.9, "train/generator_loss": 3.0, "train/real_loss": 0.2},
            **{"train/fake_loss": 0.2, "train/discriminator_loss": 0.4, "train/spectral_convergence_loss": 0.2},
        },
        {
            **{"loss_d": "train/discriminator_loss", "loss_g": "train/generator_loss"},
            **{"adversarial_g": "train/adversarial_loss"},
            **{"loss_d_real": "train/real_loss", "loss_d_fake": "train/fake_loss"},
        },
    ),
    Program(
        "FOMM",
        {"perceptual": 80.0, "gen_gan": 0.3, "feature_matching": 4.0, "disc_gan": 0.2, "equivariance_value": 0.3},
        {"loss_g": "gen_gan", "adversarial_g": "gen_gan", "loss_d": "disc_gan", "adversarial_d": "disc_gan"},
    ),
    Program(
        "MMagic",
        {"loss_gan": 0.1, "loss_pix": 0.01, "loss_disc_fake": 0.5, "loss_disc_real": 0.6, "loss_disc_fake_g": 0.8},
        {
            **{"loss_g": "loss_gan", "adversarial_g": "loss_gan", "loss_d": "loss_disc_real + loss_disc_fake"},
            **{"loss_d_real": "loss_disc_real", "loss_d_fake": "loss_disc_fake"},
        },
    ),
    Program(
        "VQGAN",
        {
            **{"train/aeloss_step": 0.6, "train/g_loss_step": 0.1, "train/disc_loss_step": 0.9, "train/d_weight": 0.7},
            **{"train/logits_real_step": 0.3, "train/logits_fake_step": -0.3, "train/nll_loss": 0.4},
            **{"val/rec_loss": 0.4},
        },
        {
            **{"loss_g": "train/g_loss_step", "loss_d": "train/disc_loss_step", "rec_loss": "val/rec_loss"},
            **{"logit_real": "train/logits_real_step", "logit_fake": "train/logits_fake_step"},
        },
    ),
    Program(
        "SeqGAN",
        {
            **{"nll": 8.9, "pg_loss": 0.5, "d_loss": 0.3, "d_accuracy": 0.95, "real_prob": 0.8, "fake_prob": 0.1},
            **{"avg_reward": 0.1},
        },
        {
            **{"nll": "nll", "loss_g": "pg_loss", "loss_d": "d_loss", "accuracy_d": "d_accuracy"},
            **{"probability_real": "real_prob", "probability_fake": "fake_prob"},
        },
    ),
    Program(
        "TextGAN",
        {"g_loss": 1.2, "d_loss": 0.6, "train_acc": 0.7, "NLL_gen": 5.0, "NLL_oracle": 8.0, "temperature": 1.0},
        {
            **{"loss_g": "g_loss", "loss_d": "d_loss", "accuracy_d": "train_acc"},
            **{"nll_gen": "NLL_gen", "nll_oracle": "NLL_oracle"},
        },
    ),
    Program(
        "TimeGAN",
        {"d_loss": 2.0, "g_loss_u": 0.7, "g_loss_s": 0.1, "g_loss_v": 0.2, "e_loss_t0": 0.3},
        {"loss_d": "d_loss", "loss_g": "g_loss_u", "adversarial_g": "g_loss_u"},
    ),
    Program("CTGAN", {"Loss G": -0.8, "Loss D": 0.2}, {"loss_g": "Loss G", "loss_d": "Loss D"}),
    Program("bar of CTGAN", {"Gen.": -0.8, "Discrim.": 0.2}, {"loss_g": "Gen.", "loss_d": "Discrim."}),
    Program(
        "fastai",
        {"train_loss": 0.5, "valid_loss": 0.6, "gen_loss": 2.0, "crit_loss": 0.3},
        {"loss_g": "gen_loss", "loss_d": "crit_loss"},
    ),
    Program(
        "GANomaly",
        {"err_d": 0.6, "err_g": 1.5, "err_g_adv": 0.2, "err_g_con": 0.1, "err_g_enc": 0.3},
        {"loss_d": "err_d", "loss_g": "err_g", "adversarial_g": "err_g_adv"},
    ),
    Program(
        "Descript audio codec",
        {"adv/disc_loss": 2.0, "adv/gen_loss": 1.0, "adv/feat_loss": 5.0, "mel/loss": 1.0},
        {
            "loss_d": "adv/disc_loss",
            "adversarial_d": "adv/disc_loss",
            "loss_g": "adv/gen_loss",
            "adversarial_g": "adv/gen_loss",
        },
    ),
    Program(
        "Lightning",
        {"d_loss_step": 0.6, "g_loss_step": 1.0, "val/fid_epoch": 50.0},
        {"loss_d": "d_loss_step", "loss_g": "g_loss_step", "fid": "val/fid_epoch"},
    ),
    Program(
        "table of Weights & Biases",
        {"run-1 - d_loss": 0.6, "run-1 - d_loss__MIN": 0.5, "run-1 - d_loss__MAX": 0.7, "run-1 - g_loss": 1.0},
        {"loss_d": "run-1 - d_loss", "loss_g": "run-1 - g_loss"},
    ),
    Program(
        "a Pilot of this package",
        {"rank_train_fake": 0.5, "coverage": 0.6, "diversity": 0.9, "loss_d": 1.0, "kd_digits": 0.03},
        {
            **{"rank_train_fake": "rank_train_fake", "coverage": "coverage", "diversity": "diversity"},
            **{"loss_d": "loss_d", "kd_digits": "kd_digits"},
        },
    ),
    Program(
        "StarGAN v2",
        {
            **{"D/latent_real": 0.5, "D/latent_fake": 0.6, "D/latent_reg": 0.1, "D/ref_real": 0.5, "D/ref_fake": 0.4},
            **{"G/latent_adv": 1.2, "G/latent_sty": 0.2, "G/latent_ds": 0.3, "G/ref_adv": 1.1, "G/lambda_ds": 1.0},
        },
        {
            "loss_d": "D/latent_real + D/ref_real + D/latent_fake + D/ref_fake",
            **{"loss_d_real": "D/latent_real + D/ref_real", "loss_d_fake": "D/latent_fake + D/ref_fake"},
            **{"loss_g": "G/latent_adv + G/ref_adv", "adversarial_g": "G/latent_adv + G/ref_adv"},
        },
    ),
    Program(
        "VQGAN in the bar of Lightning",
        {"loss": 1.2, "train/aeloss_step": 0.9, "train/discloss_step": 0.8, "val/rec_loss": 0.4, "val/aeloss": 0.8},
        {"loss_d": "train/discloss_step", "loss_g": "train/aeloss_step", "rec_loss": "val/rec_loss"},
    ),
    Program(
        "KAIR",
        {"G_loss": 0.03, "F_loss": 0.5, "D_loss": 0.4, "l_d_real": 0.3, "l_d_fake": 0.2, "D_real": 1.2, "D_fake": -1.3},
        {
            **{"loss_d": "l_d_real + l_d_fake", "loss_d_real": "l_d_real", "loss_d_fake": "l_d_fake"},
            **{"loss_g": "D_loss", "adversarial_g": "D_loss", "logit_real": "D_real", "logit_fake": "D_fake"},
        },
    ),
    Program(
        "ImageNet training with a discriminator",
        {"Time": 0.1, "D_Loss": 0.6, "G_Loss": 1.1, "Acc@1": 50.0, "top5 acc": 80.0},
        {"loss_d": "D_Loss", "loss_g": "G_Loss"},
    ),
    Program(
        "accuracies of tutorials for Keras",
        {"d": 0.6, "g": 0.9, "Accuracy real": 0.8, "fake": 0.9},
        {"loss_d": "d", "loss_g": "g", "accuracy_d": "Accuracy real + fake"},
    ),
    Program(
        "both sides after the word of the first",
        {"D loss real": 0.5, "fake": 0.4, "G": 1.0},
        {"loss_d": "D loss real + fake", "loss_d_real": "D loss real", "loss_d_fake": "fake", "loss_g": "G"},
    ),
    Program("German", {"D-Verlust": 0.5, "G-Verlust": 0.9}, {"loss_d": "D-Verlust", "loss_g": "G-Verlust"}),
    Program("French", {"perte_d": 0.5, "perte_g": 0.9}, {"loss_d": "perte_d", "loss_g": "perte_g"}),
    Program("Chinese", {"判别器loss": 0.5, "生成器损失": 0.9}, {"loss_d": "判别器loss", "loss_g": "生成器损失"}),
    Program(
        "misspelled names",
        {"Discrimator Loss": 0.5, "genrator_loss": 0.9},
        {"loss_d": "Discrimator Loss", "loss_g": "genrator_loss"},
    ),
    Program(
        "both losses after one name",
        {"loss (D/G)": 0.5, "loss (D/G) 2": 1.0},
        {"loss_d": "loss (D/G)", "loss_g": "loss (D/G) 2"},
    ),
    Program(
        "both sides after one name",
        {"D loss real/fake": 0.5, "D loss real/fake 2": 0.4},
        {
            **{"loss_d": "D loss real/fake + D loss real/fake 2", "loss_d_real": "D loss real/fake"},
            **{"loss_d_fake": "D loss real/fake 2"},
        },
    ),
    Program(
        "MolGAN",
        {"D/loss_real": -2.0, "D/loss_fake": 0.5, "D/loss_gp": 0.01, "G/loss_fake": -0.5, "G/loss_value": 0.2},
        {
            **{"loss_d": "D/loss_real + D/loss_fake", "loss_d_real": "D/loss_real", "loss_d_fake": "D/loss_fake"},
            **{"loss_g": "G/loss_fake", "adversarial_g": "G/loss_fake"},
        },
    ),
    Program(
        "evaluation of TF-GAN",
        {"discriminator_loss": 0.6, "frechet_inception_distance": 50.0, "generator_loss": 1.0},
        {"loss_d": "discriminator_loss", "loss_g": "generator_loss", "fid": "frechet_inception_distance"},
    ),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=[program.name for program in PROGRAMS])
def test_columns_of_real_programs(program: Program) -> None:
    (log,) = interpret(make_log(program.columns, program.percent))
    sources = {name: " + ".join(columns) for name, columns in log.sources.items()}
    assert sources == dict(program.expected)
    assert set(log.signals) | set(log.metrics) == set(sources)


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        *[(name, "loss_d") for name in ("loss_d", "d_loss", "Loss/D", "errD", "Loss_D", "train/loss_D", "D/loss")],
        *[(name, "loss_d") for name in ("DLoss", "dloss", "lossD", "D_losses", "metrics.d_loss", "Average lossD")],
        *[(name, "loss_g") for name in ("G_loss", "Loss/G/loss", "gen_loss", "Generator loss", "train_g_loss")],
        *[(name, "loss_d_real") for name in ("errD_real", "D_loss_real", "dlossreal", "real_D_loss", "D loss (real)")],
        *[(name, "loss_d_fake") for name in ("d_loss_generated", "D_loss_gen", "fake_loss", "l_d_fake")],
        *[(name, "probability_real") for name in ("D(x)", "D_x", "D(y)", "D(HR)", "D(real)", "average D(x)")],
        *[(name, "probability_fake") for name in ("D(G(z))", "D(G(x))", "D_G_z1", "D(SR)", "D(fake)", "D(x_fake)")],
        *[("Loss/signs/real", "sign_real"), ("D - loss", "loss_d"), ("run 3 - D_loss", "loss_d")],
        *[(name, "adversarial_g") for name in ("G_adv", "g_loss_adv", "loss_gan", "gen_disc_loss", "G/loss_fake")],
        *[(name, "gradient_norm_d") for name in ("grad_norm_d", "D_grad_norm", "Disc_grad_norm", "gradnorm/d")],
        *[
            (name, None)
            for name in ("loss", "lr_d", "d_loss_gp", "accuracy", "d_weight", "G_sv0", "d_steps", "best_g_loss")
        ],
        *[(name, None) for name in ("d_loss_std", "Loss/D/reg", "G_lr", "loss_g_cycle", "actor_loss", "date", "grade")],
    ],
)
def test_signal_of_one_name(name: str, signal: str | None) -> None:
    assert match_signal(name) == signal


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        *[
            (name, ("fid", "lower"))
            for name in ("FID", "metrics/fid", "val_fid", "FID score", "fid_score", "FID (mean)")
        ],
        *[
            ("fid50k_full", ("fid50k_full", "lower")),
            ("FID-5k", ("fid5k", "lower")),
            ("clip_fid", ("clip_fid", "lower")),
        ],
        *[("kid50k", ("kid50k", "lower")), ("kd_digits", ("kd_digits", "lower")), ("is50k", ("is50k", "higher"))],
        *[("IS_mean", ("is", "higher")), ("inception_score", ("inception_score", "higher"))],
        *[("precision", ("precision", "higher")), ("pr50k3_full_recall", ("recall", "higher"))],
        *[
            ("self-BLEU", ("self_bleu", "lower")),
            ("BLEU-3", ("bleu3", "higher")),
            ("BLEU-[2, 3, 4] 2", ("bleu3", "higher")),
            ("nll-test", ("nll", "lower")),
        ],
        *[("NLL_div", ("nll_div", "higher")), ("ppl2_wend", ("ppl2_wend", "lower")), ("m_psnr", ("psnr", "higher"))],
        *[(name, None) for name in ("fiddle", "island", "learning_rate", "isolation", "is it", "best_fid", "IS_std")],
        *[(name, None) for name in ("fid_time", "nll_loss", "D_precision", "min_fid", "loss_ssim", "time/fid")],
    ],
)
def test_metric_of_one_name(name: str, metric: tuple[str, str] | None) -> None:
    assert match_metric(name) == metric


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("global_step", "step"),
        ("Iter", "step"),
        ("itr", "step"),
        ("Epoch", "epoch"),
        ("Progress/kimg", "image"),
        ("Iter(train)", "step"),
        ("Train Epoch", "epoch"),
        ("D_step", "step"),
        ("Batch Num", "step"),
        ("num_updates", "step"),
        ("Epoche", "epoch"),
        ("étape", "step"),
        ("gen_iterations", "step"),
    ],
)
def test_counter_of_one_name(name: str, unit: str) -> None:
    meaning = classify_name(name)
    assert (meaning.kind, meaning.name) == ("counter", unit)


@pytest.mark.parametrize("name", ["", " ", "()", "损失", "é", "-", "\x1b[31m", "x" * 10_000, "d_" * 5000])
def test_any_text_is_a_name(name: str) -> None:
    assert classify_name(name).kind in ("unknown", "signal", "other")
