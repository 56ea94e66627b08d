"""The brief's own classes, for a loop written around them: schedulers by epoch, a pair of networks, a PPO agent."""

from equipoise.brief.agent import Hyperparameters, PPOHyperparameterOptimizer
from equipoise.brief.networks import GAN
from equipoise.brief.schedulers import AnnealedScheduler, LearnableScheduler

__all__ = ["GAN", "AnnealedScheduler", "Hyperparameters", "LearnableScheduler", "PPOHyperparameterOptimizer"]
