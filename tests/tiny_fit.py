"""Sizes of a fit in which everything happens and nothing converges."""

from lmltdm_jax.inference.fit import FitSettings
from lmltdm_jax.inference.learn import LearnSettings
from lmltdm_jax.inference.nuts import NutsSettings

TINY = FitSettings(
    64,
    3,
    LearnSettings(walkers=32, walks=3, sweeps=1, epochs=3, draws=256, rounds=2),
    NutsSettings(
        chains=4,
        warmup_blocks=2,
        blocks=4,
        look=4,
        ess=500.0,
        transitions=3,
        sweeps=2,
        max_tree_depth=3,
    ),
)
