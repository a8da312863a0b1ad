"""Loop-induced kinetic mixing of Z' and photon (no tree-level mixing at high energy)."""

import math

import jax
import jax.numpy as jnp

from lmltdm_jax.inputs import StandardModel

_SERIES_RADIUS = 0.5
_SERIES = tuple(
    # -1/n B(n+2, n+2): term n of int x(1-x) ln(1 - x(1-x) t) dx
    -(math.gamma(n + 2) ** 2) / math.gamma(2 * n + 4) / n
    for n in range(1, 19)
)


def vacuum_polarisation(t: jax.Array) -> jax.Array:
    """I(t) = int_0^1 dx x(1-x) ln(1 - x(1-x) t - i0), complex, for t = q^2/m^2 of either sign.

    Closed form (Peskin and Schroeder, sect. 7.5), y = 4/t:
    I = [-5/3 - y + (1 + y/2) f(y)]/6 with f = sqrt(1-y) ln[(sqrt(1-y)+1)/(sqrt(1-y)-1)] for t < 0,
    2 sqrt(y-1) atan(1/sqrt(y-1)) for 0 < t < 4, sqrt(1-y)[ln((1+b)/(1-b)) - i pi], b = sqrt(1-y),
    above; (1+b)/(1-b) is formed as (1+b)^2/y, which does not cancel at large |t|.
    Below |t| = 1/2 the closed form cancels and the power series (remainder < 1e-17) is used.
    """
    t = jnp.asarray(t)
    small = jnp.abs(t) < _SERIES_RADIUS
    t_small = jnp.where(small, t, 0.0)
    series = jnp.zeros_like(t_small)
    for coefficient in reversed(_SERIES):
        series = t_small * (coefficient + series)

    y = 4.0 / jnp.where(small, 1.0, t)
    spacelike, above = y < 0.0, (y > 0.0) & (y < 1.0)
    below = ~(spacelike | above)
    b_space = jnp.sqrt(jnp.where(spacelike, 1.0 - y, 2.0))
    b_below = jnp.sqrt(jnp.where(below & (y > 1.0), y - 1.0, 1.0))
    b_above = jnp.sqrt(jnp.where(above, 1.0 - y, 0.25))
    f = jnp.where(
        spacelike,
        b_space * jnp.log((b_space + 1.0) ** 2 / jnp.where(spacelike, -y, 1.0)),
        jnp.where(
            above,
            b_above * jnp.log((1.0 + b_above) ** 2 / jnp.where(above, y, 1.0)),
            jnp.where(y > 1.0, 2.0 * b_below * jnp.arctan(1.0 / b_below), 0.0),
        ),
    )
    prefactor = (1.0 + 0.5 * y) / 6.0
    real = (-5.0 / 3.0 - y) / 6.0 + prefactor * f
    imaginary = jnp.where(above, -math.pi * prefactor * b_above, 0.0)
    return jax.lax.complex(jnp.where(small, series, real), jnp.where(small, 0.0, imaginary))


def kinetic_mixing(q2: jax.Array, g_x: jax.Array, sm: StandardModel) -> jax.Array:
    """eps(q^2): Z' couples to electromagnetic charge Q with strength e eps Q. Complex, no unit.

    eps = -(e g_x/2 pi^2) int dx x(1-x) ln[(m_tau^2 - x(1-x) q^2 - i0)/(m_mu^2 - x(1-x) q^2 - i0)]
    (talk, slide on the Lmu-Ltau model; e.g. arXiv:1901.02010 eq. 2.4). Tends to -g_x/69.29 for
    q^2 -> 0; the talk rounds to -g_x/70. ``q2`` in GeV^2, timelike positive. The slope of the real
    part is infinite just below q^2 = 4 m_mu^2 and 4 m_tau^2 (threshold cusp).
    """
    of_tau, of_mu = vacuum_polarisation(jnp.stack([q2 / sm.m_tau**2, q2 / sm.m_mu**2]))
    loop = jnp.log(sm.m_tau / sm.m_mu) / 3.0 + of_tau - of_mu
    return -sm.electric_charge * g_x / (2.0 * math.pi**2) * loop
