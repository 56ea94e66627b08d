"""Classes with the names of the project brief, for custom loops: epoch schedulers, a pair of networks, a PPO agent."""

from equipoise.brief.agent import Hyperparameters, PPOHyperparameterOptimizer
from equipoise.brief.networks import GAN
from equipoise.brief.schedulers import AnnealedScheduler, LearnableScheduler

__all__ = ["GAN", "AnnealedScheduler", "Hyperparameters", "LearnableScheduler", "PPOHyperparameterOptimizer"]
