"""Real part of the H1 self-energy: how far the line shape is known for a broad H1.

The propagator of :mod:`.line_shape` has the absorptive part A(s) = Q Gamma_1(Q^2) only.
Analyticity ties a real part R(s) to it. Each dark channel has A_i = c_i(s) beta_i(s) with a
polynomial c_i, and beta is the imaginary part of J/pi, J = beta ln[(beta - 1)/(beta + 1)] (the
scalar two-point function B_0 up to a constant), so that R_i is known in closed form up to a
polynomial. It is fixed here by

* the mass: R(m_h1^2) = 0, with each coefficient of c_i renormalised at the scale m_h1,
  R_i(s) = c_i(s) Re[J_i(s) - J_i(m_h1^2)]/pi;
* the residue: the rate is multiplied by N = 1 + R'(m_h1^2), so that sin(theta) stays the mixing
  that an H1 on its mass shell has and narrow lines do not change.

For X X* c is a constant and this is the once-subtracted dispersion integral, exactly. For Z'Z'
A grows as s^2 (longitudinal Z'): the integral needs three subtractions, and two of its constants,
of s - m_h1^2 and its square, belong to couplings that a Goldstone boson's derivative coupling
generates. A linear sigma model fixes them by what happens beyond m_h1; the choice above has
their logarithms at m_h1, and another scale mu adds c(s) ln(mu^2/m_h1^2)/pi. The derivative R' is
taken half a width into the complex plane, where it is finite although J has a cusp at threshold.

Corrections to the vertices are of the same order Gamma/m and are not known; neither are loops of
H1 pairs and visible particles, and H1-H2 mixing by loops. The result is therefore not a better
prediction but the size of a theory error: the nuisance ``h1_running``, a unit normal z, multiplies
every spectrum by :func:`theory_error_factor`. BR(B+ -> K+ invisible) changes by less than 1e-3 at
Gamma/m = 0.1 if the pole is in phase space and by 4 to 27 % (m_h1 from 5 to 20 GeV) if it is not;
at Gamma/m = 0.5 by up to 4 % and by 13 % to a factor 2.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from lmltdm_jax.model import Point
from lmltdm_jax.numerics.safe import safe_log, safe_sqrt
from lmltdm_jax.observables.line_shape import Distances, absorptive_part, dark_widths
from lmltdm_jax.widths import Widths


def loop_real(q2: jax.Array, above: jax.Array, threshold: jax.Array) -> jax.Array:
    """Re J at q2 > 0 with ``threshold`` = 4 m^2 and ``above`` = q2 - 4 m^2 [GeV^2].

    Continuous at threshold, where it is 0; -2 for q2 -> 0.
    """
    beta, closed = safe_sqrt(above / q2), safe_sqrt(-above / q2)
    # (1 - beta)/(1 + beta) = (4 m^2/q2)/(1 + beta)^2: no cancellation far above threshold.
    opened = beta * (jnp.log(threshold / q2) - 2.0 * jnp.log1p(beta))
    return opened - 2.0 * closed * jnp.arctan2(1.0, closed)


def loop_slope(q2: jax.Array, threshold: jax.Array) -> jax.Array:
    """q2 dJ/dq2 for complex q2 in the upper half plane."""
    x = threshold / q2
    beta = jnp.sqrt(1.0 - x)
    logarithm = jnp.log(-x) - 2.0 * jnp.log(1.0 + beta)
    return 0.5 * x / beta * logarithm - 1.0


def _coefficients(point: Point, q2: jax.Array) -> tuple[jax.Array, jax.Array]:
    """c = A/beta [GeV^2] of X X* and Z'Z' in H1's self-energy at q2, also below threshold."""
    mass2 = jnp.asarray(point.params.m_zp, float) ** 2
    cos2 = point.cos_theta**2
    xx = cos2 * (point.params.lambda_phix * point.v_phi) ** 2 / (16.0 * math.pi)
    zpzp = q2**2 - 4.0 * q2 * mass2 + 12.0 * mass2**2
    return xx, cos2 * zpzp / (32.0 * math.pi * point.v_phi**2)


def _thresholds(point: Point) -> tuple[jax.Array, jax.Array]:
    p = point.params
    return 4.0 * jnp.asarray(p.m_x, float) ** 2, 4.0 * jnp.asarray(p.m_zp, float) ** 2


def real_part(point: Point, d: Distances) -> jax.Array:
    """R [GeV^2]: the inverse propagator is q2 - m_h1^2 + R + i Q Gamma_1; 0 at q2 = m_h1^2."""
    pole = jnp.asarray(point.params.m_h1, float) ** 2
    total = jnp.zeros_like(d.q2)
    channels = zip(_coefficients(point, d.q2), _thresholds(point), (d.xx, d.zpzp), strict=True)
    for c, threshold, above in channels:
        on_shell = loop_real(pole, pole - threshold, threshold)
        total = total + c / math.pi * (loop_real(d.q2, above, threshold) - on_shell)
    return total


def residue(point: Point, widths: Widths) -> jax.Array:
    """N = 1 + Re R'(m_h1^2 + i m_h1 Gamma): inverse residue of the propagator at H1's mass."""
    mass = jnp.asarray(point.params.m_h1, float)
    pole = mass**2
    beyond = pole * (1.0 + 1j * widths.h1.total / mass)
    channels = zip(_coefficients(point, pole), _thresholds(point), strict=True)
    slopes = (c / math.pi * jnp.real(loop_slope(beyond, t) / beyond) for c, t in channels)
    return sum(slopes, jnp.ones(()))


def running_factor(point: Point, widths: Widths, d: Distances) -> jax.Array:
    """Rate with the real part over rate without, at the q2 of ``d``; 1 for Gamma/m -> 0."""
    return jnp.exp(_log_factor(point, widths, d))


def theory_error_factor(
    point: Point, widths: Widths, d: Distances, z: jax.Array | float
) -> jax.Array:
    """:func:`running_factor` to the power z, with its logarithm x replaced by x/sqrt(1 + x^2).

    At most a factor e per unit of z: where the correction is larger, nothing is known.
    """
    x = _log_factor(point, widths, d)
    return jnp.exp(z * x / jnp.sqrt(1.0 + x**2))


def _log_factor(point: Point, widths: Widths, d: Distances) -> jax.Array:
    absorptive = absorptive_part(point, d, *dark_widths(point, d))
    real = real_part(point, d)
    # Relative to |D|^2, so that nothing cancels where the line is narrow.
    excess = real * (2.0 * d.pole + real) / (d.pole**2 + absorptive**2)
    return jnp.log(residue(point, widths)) - safe_log(1.0 + excess, 1e-12)
