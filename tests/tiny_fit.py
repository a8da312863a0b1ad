"""Sizes of a fit in which everything happens and nothing converges."""

from lmltdm_jax.inference.fit import FitSettings
from lmltdm_jax.inference.islands import IslandSettings
from lmltdm_jax.inference.learn import LearnSettings
from lmltdm_jax.inference.nuts import NutsSettings

TINY = FitSettings(
    64,
    3,
    LearnSettings(600, 4, 2, 3, 256, 2, IslandSettings(32, 3, 1, 600)),
    NutsSettings(4, 2, 4, 3, 2, 3),
)
