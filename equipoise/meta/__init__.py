"""Training as something to learn from: many small runs at once, an environment, policies and how they are made.

With the extra `rl`, importing this makes `equipoise/GanTraining-v0` known to Gymnasium.
"""

from importlib.util import find_spec

if find_spec("gymnasium"):
    import gymnasium

    gymnasium.register("equipoise/GanTraining-v0", "equipoise.meta.environment:GanTraining")
