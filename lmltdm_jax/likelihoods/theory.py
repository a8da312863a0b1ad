"""Where the model stops being a theory: smooth walls, each a term that can be switched off.

``prediction`` is a ratio to its bound. With t = ln(max(ratio, 1))/0.1, pull = t^2/(1 + t) and
ln L = -pull^2/2: exactly 0 up to the bound, three continuous derivatives, -1/8 at 10 % above it and
-7.5 at 60 %, quadratic in ln(ratio) beyond.
"""

from __future__ import annotations

import abc
import math
from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.likelihoods.base import Context, Term
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.model import Point

_WALL = 0.1
"""Relative distance above a bound over which its wall sets in."""
LAMBDA_X_MAX = 2.0 * math.pi
"""Largest |X|^4 coupling, 4 lambda_X < 8 pi as in :func:`scattering_matrix`"""


class TheoryTerm(Term):
    """A wall at ``prediction`` = 1."""

    @classmethod
    @abc.abstractmethod
    def load(cls) -> Self:
        """The term with its entry of ``data/measurements/theory.toml``."""

    def pull(self, context: Context) -> jax.Array:
        t = jnp.log(jnp.maximum(self.prediction(context), 1.0)) / _WALL
        return t**2 / (1.0 + t)

    def loglike(self, context: Context) -> jax.Array:
        return -0.5 * self.pull(context) ** 2


class _Named(TheoryTerm):
    measurement: Measurement
    name: str = eqx.field(static=True)

    @classmethod
    def load(cls) -> Self:
        key = cls.key()
        return cls(Measurement.load("theory", key), key)

    @staticmethod
    @abc.abstractmethod
    def key() -> str:
        """Name of the term and of its entry."""


def smooth_largest(values: jax.Array) -> jax.Array:
    """16-norm of ``values`` (n,), not all 0: the largest |value| times a factor up to n^(1/16).

    The scale is a constant for the derivative, which is exact: it cancels.
    """
    scale = jax.lax.stop_gradient(jnp.max(jnp.abs(values)))
    return scale * jnp.sum((values / scale) ** 16) ** (1.0 / 16.0)


class Perturbativity(_Named):
    """g_x^2 Q^2 < 4 pi for the charges 1, q_phi, q_x, and every |quartic| < 4 pi.

    The 16-norm of seven ratios: at most 13 % above the largest, where all are equal.
    """

    @staticmethod
    def key() -> str:
        return "perturbativity"

    def prediction(self, context: Context) -> jax.Array:
        point = context.point
        p = point.params
        gauge = [(p.g_x * charge) ** 2 for charge in (1.0, p.q_phi, p.q_x)]
        quartics = [point.lambda_h, point.lambda_phi, point.lambda_phih, p.lambda_phix]
        return smooth_largest(jnp.stack([jnp.asarray(v, float) for v in (*gauge, *quartics)])) / (
            4.0 * math.pi
        )


def scattering_matrix(point: Point) -> jax.Array:
    """Singlet amplitudes of |H|^2, |Phi|^2, |X|^2 pairs at high energy, 16 pi a_0, (3, 3).

    With N real fields each (4, 2, 2), normalised states sum_i phi_i phi_i/sqrt(2N) and
    V = lambda (sum phi^2/2)^2: (N + 2) lambda on the diagonal, sqrt(N N')/2 lambda' off it.
    Goldstone bosons stand for longitudinal W, Z, Z'. No |X|^4 and no |H|^2 |X|^2.
    """
    mixed = math.sqrt(2.0) * point.lambda_phih
    portal = jnp.asarray(point.params.lambda_phix, float)
    none = jnp.zeros_like(portal)
    rows = [
        [6.0 * point.lambda_h, mixed, none],
        [mixed, 4.0 * point.lambda_phi, portal],
        [none, portal, none],
    ]
    return jnp.stack([jnp.stack(row) for row in rows])


class Unitarity(_Named):
    """|Re a_0| < 1/2 of scalar-scalar scattering: eigenvalues of the matrix below 8 pi.

    The 16-norm of the three eigenvalues, (tr M^16)^(1/16): at most 7 % above the largest, smooth
    where two of them cross. Other channels have smaller eigenvalues (2 lambda, lambda').
    """

    @staticmethod
    def key() -> str:
        return "unitarity"

    def prediction(self, context: Context) -> jax.Array:
        matrix = scattering_matrix(context.point)
        scale = jax.lax.stop_gradient(jnp.max(jnp.abs(matrix)))
        power = matrix / scale
        for _ in range(3):
            power = power @ power
        return scale * jnp.sum(power**2) ** (1.0 / 16.0) / (8.0 * math.pi)


class VacuumStability(_Named):
    """No deeper vacuum and no runaway in the direction of X, for some lambda_X |X|^4 below 2 pi.

    With masses and mixing as parameters H and Phi alone are always stable: 4 lambda_h lambda_phi -
    lambda_phih^2 = m1^2 m2^2/(v_h v_phi)^2. At Phi = 0 the mass of X is m_x^2 - lambda_phix
    v_phi^2/2; if that is negative X condenses, and V there stays above today's vacuum only if
    lambda_phix - 2 m_x^2/v_phi^2 < 2 sqrt(lambda_x lambda_phi). A negative portal is bounded from
    below if -lambda_phix < 2 sqrt(lambda_x lambda_phi). H is kept at its vacuum value
    (corrections of relative order lambda_phih v_h^2/m2^2 times the height of the barrier).
    """

    @staticmethod
    def key() -> str:
        return "vacuum_stability"

    def prediction(self, context: Context) -> jax.Array:
        p, v_phi = context.point.params, context.point.v_phi
        # The two meet at lambda_phix = m_x^2/v_phi^2 > 0, where both are negative: no kink above 0.
        portal = jnp.maximum(p.lambda_phix - 2.0 * (p.m_x / v_phi) ** 2, -p.lambda_phix)
        return portal / (2.0 * jnp.sqrt(LAMBDA_X_MAX * context.point.lambda_phi))


class H1Width(_Named):
    """Gamma/m < 1/2 for H1."""

    @staticmethod
    def key() -> str:
        return "h1_width"

    def prediction(self, context: Context) -> jax.Array:
        return 2.0 * context.widths.h1.total / context.point.params.m_h1


THEORY_TERMS = (Perturbativity, Unitarity, VacuumStability, H1Width)
