"""Double precision: the only file that touches ``jax.config``.

The physics spans sixty decades (a Z' width of 1e-13 GeV, a Planck mass of 1e19 GeV); single
precision silently gives wrong numbers. Importing ``lmltdm_jax`` switches float64 on, once.
"""

import jax

jax.config.update("jax_enable_x64", True)


def require_x64() -> None:
    """Raise ``RuntimeError`` with the cure if someone has switched float64 off since import."""
    if not jax.config.read("jax_enable_x64"):
        raise RuntimeError(
            "lmltdm_jax needs JAX in 64-bit mode, but jax_enable_x64 is off. "
            'Call jax.config.update("jax_enable_x64", True) before making any array, '
            "or set JAX_ENABLE_X64=1, and do not switch it off after importing lmltdm_jax."
        )
