"""The coordinates that samplers see: lambda_phix measured from the relic-density shell.

Omega h2 = 0.12 confines the posterior to a shell of about 1 % in lambda_phix, whose position runs
over six decades with the masses. The coordinate

    d = t(lambda_phix) - log10 lambda_shell(m_x, m_h1, m_zp, g_x, q_phi, sin_theta)

straightens it: t is log10 lambda_phix (opened at the ends of its prior box, which stays exactly
enforced), and lambda_shell a cheap estimate of the coupling that gives 0.12 on the small-lambda
branch. What the estimate misses is removed later, by :mod:`charts`. Subtracting a function of the
other coordinates is a shear: its Jacobian is one. Nothing is cut or assumed; a poor estimate costs
efficiency and never changes the posterior.

The estimate keeps X X* -> H1* -> Z'Z' (longitudinal, Goldstone bosons) and X X* -> H1 H1:

    sigma v = lambda^2 [S beta_Z |D_H1(S)|^2 + beta_H (c - lambda v_phi^2 t)^2/S]/(16 pi),
    c = 1 + 3 m_h1^2/(S - m_h1^2),  t = 2/(S/2 - m_h1^2),

averaged over S and over freeze-out. With <sigma v> a thermal average and the yield the integral of
<sigma v> dx/x^2 from x_f on, the weight of w = x_f (S/(4 m_x^2) - 1) is exactly 2 erfc(sqrt(w)).
Between the nodes in w the rest of the integrand is linear and the Breit-Wigner factor is
integrated in closed form, so that a pole of any width counts with its true area.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import erfc

from lmltdm_jax.constants import M_PLANCK, OMEGA_H2_PREFACTOR
from lmltdm_jax.numerics.compiling import top_level_jit
from lmltdm_jax.parameters import Parameters, ParameterSet

from .lanes import in_lanes
from .prior import Prior, is_log, soft_box

OMEGA_H2 = 0.12
_W = np.linspace(0.0, 5.5, 20) ** 2
_WEIGHT = 2.0 * erfc(np.sqrt(_W))
_ITERATIONS = 4
_WIDTH_FLOOR = 1e-12
_SOFT = 1e-3
_FAR = 0.03


class _Estimate(NamedTuple):
    """What is left of the annihilation at one point, as functions of lambda_phix."""

    log_average: Callable[[jax.Array], jax.Array]
    """ln of 16 pi <sigma v>/lambda^2 at ln lambda"""
    log_target: jax.Array
    """ln of 16 pi <sigma v> with Omega h2 = 0.12"""
    wide: jax.Array
    """16 pi <sigma v> lambda^2 for a width far above the distance from the pole"""
    quartic: jax.Array
    """of 16 pi <sigma v>, the term in lambda^4"""


def _estimate(params: Parameters) -> _Estimate:
    m_x, m_h1, m_zp = (jnp.asarray(m) for m in (params.m_x, params.m_h1, params.m_zp))
    v_phi = m_zp / (params.g_x * jnp.abs(params.q_phi))
    c2 = (1.0 - params.sin_theta) * (1.0 + params.sin_theta)
    x_f = 20.0 + 0.9 * jnp.log(m_x)
    s = 4.0 * m_x**2 * (1.0 + _W / x_f)

    resonant = c2**2 * s * _soft_beta(4.0 * m_zp**2 / s)
    ratio = jnp.minimum(m_h1**2 / s, 0.25)
    # The amplitude to H1 H1 can be huge: its channel closes faster than the soft velocity does.
    open_h1h1 = jax.nn.sigmoid(150.0 * (s / (4.0 * m_h1**2) - 1.0))
    to_h1h1 = c2**2 * _soft_beta(4.0 * m_h1**2 / s) * open_h1h1 / s
    s_and_contact = 1.0 + 3.0 * ratio / (1.0 - ratio)
    t_channel = 4.0 * c2 * v_phi**2 / (s * (1.0 - 2.0 * ratio))
    width_zpzp = c2 * m_h1**3 * _soft_beta(4.0 * m_zp**2 / m_h1**2) / (32.0 * math.pi * v_phi**2)
    width_xx = v_phi**2 * c2 * _soft_beta(4.0 * m_x**2 / m_h1**2) / (16.0 * math.pi * m_h1)
    # Closed to X X* below threshold, where the soft velocity leaves a tail.
    width_xx = width_xx * jax.nn.sigmoid(40.0 * (m_h1 / (2.0 * m_x) - 1.0))

    def log_average(log_lambda: jax.Array) -> jax.Array:
        coupling = jnp.exp(log_lambda)
        m_gamma = m_h1 * (width_zpzp + coupling**2 * width_xx) + _WIDTH_FLOOR * m_h1**2
        h1h1 = to_h1h1 * (s_and_contact - coupling * t_channel) ** 2
        return jnp.log(_breit_wigner_average(resonant, s, m_h1**2, m_gamma) + _integrate(h1h1, _W))

    return _Estimate(
        log_average,
        jnp.log(16.0 * math.pi * _required_average(m_x, x_f)),
        _integrate(resonant, _W) / (m_h1 * (width_xx + _WIDTH_FLOOR * m_h1)) ** 2,
        _integrate(to_h1h1 * t_channel**2, _W),
    )


def estimated_excess(params: Parameters) -> jax.Array:
    """The estimate's ln(Omega h2/0.12), if Omega h2 goes as 1/<sigma v>; scalars in and out."""
    estimate = _estimate(params)
    log_lambda = jnp.log(params.lambda_phix)
    return estimate.log_target - estimate.log_average(log_lambda) - 2.0 * log_lambda


def log10_lambda_shell(params: Parameters, upper: bool = False) -> jax.Array:
    """log10 of the coupling with Omega h2 close to 0.12 on the small-lambda branch.

    ``upper``: on the other branch, where lambda makes H1 so wide (m_h1 > 2 m_x) that more of it
    means less annihilation. Finite and smooth over the prior box, also where no coupling gives
    0.12. Scalars in, scalar out; ``params.lambda_phix`` and ``q_x`` are not read.
    """
    log_average, log_target, wide, quartic = _estimate(params)
    if upper:
        # For a width far above the distance from the pole <sigma v> goes as lambda^-2.
        return _root(log_average, log_target, 0.5 * (jnp.log(wide) - log_target), -1.0)
    quadratic = jnp.exp(log_average(jnp.asarray(-30.0)))
    target = jnp.exp(log_target)
    # Root of quadratic lambda^2 + quartic lambda^4 = target, then Newton for the width.
    log_lambda = 0.5 * jnp.log(
        2.0 * target / (quadratic + jnp.sqrt(quadratic**2 + 4.0 * quartic * target))
    )
    return _root(log_average, log_target, log_lambda, 1.0)


def _root(
    log_average: Callable[[jax.Array], jax.Array],
    log_target: jax.Array,
    log_lambda: jax.Array,
    sign: float,
) -> jax.Array:
    """log10 of the root near ``log_lambda``; ``sign`` that of d ln <sigma v>/d ln lambda there."""

    def newton(log_lambda: jax.Array, _: None) -> tuple[jax.Array, None]:
        value, slope = jax.jvp(log_average, (log_lambda,), (jnp.ones(()),))
        slope = sign * _at_least(sign * (2.0 + slope), 0.4)
        return log_lambda + jnp.tanh((log_target - value - 2.0 * log_lambda) / slope), None

    # A scan, so that the step and its derivative are compiled once.
    log_lambda, _ = jax.lax.scan(newton, log_lambda, length=_ITERATIONS)
    log_lambda = soft_box(log_lambda, jnp.asarray(-25.0), jnp.asarray(6.0))
    return log_lambda / math.log(10.0)


def _at_least(value: jax.Array, floor: float) -> jax.Array:
    """Smooth maximum: near the fold of the shell Newton's slope vanishes, then changes sign."""
    return floor + jax.nn.softplus(10.0 * (value - floor)) / 10.0


def _soft_beta(four_r: jax.Array) -> jax.Array:
    """sqrt(1 - 4r) without its kink: small instead of zero below threshold."""
    u = 1.0 - four_r
    root = jnp.sqrt(u**2 + _SOFT)
    # Far below threshold u + root would cancel to nothing.
    return jnp.sqrt(0.5 * jnp.where(u > 0.0, u + root, _SOFT / (root - jnp.minimum(u, 0.0))))


def _integrate(values: jax.Array, w: np.ndarray) -> jax.Array:
    """Trapezoidal average over w with the freeze-out weight."""
    f = values * _WEIGHT
    return jnp.sum(0.5 * (f[1:] + f[:-1]) * np.diff(w))


def _breit_wigner_average(
    values: jax.Array, s: jax.Array, m2: jax.Array, m_gamma: jax.Array
) -> jax.Array:
    """Average of values |1/(S - m^2 + i m Gamma)|^2; ``values`` linear between the nodes s."""
    h = values * _WEIGHT
    a, b = s[:-1] - m2, s[1:] - m2
    centre, half = 0.5 * (a + b), 0.5 * (b - a)
    # Integrals of the Lorentzian and of (y - centre) times it over each interval.
    angle = jnp.arctan2(2.0 * m_gamma * half, a * b + m_gamma**2) / m_gamma
    distance2 = centre**2 + m_gamma**2
    far = half**2 < _FAR**2 * distance2
    series = -4.0 / 3.0 * centre * half**3 / distance2**2
    log = 0.5 * jnp.log((b**2 + m_gamma**2) / (a**2 + m_gamma**2))
    # Far from the pole the exact difference cancels to the third order in half/distance.
    odd = jnp.where(far, series, log - centre * angle)
    slope = 0.5 * (h[1:] - h[:-1]) / half
    integral = jnp.sum(0.5 * (h[1:] + h[:-1]) * angle + slope * odd)
    return integral * _W[-1] / (s[-1] - s[0])


def _required_average(m_x: jax.Array, x_f: jax.Array) -> jax.Array:
    """Freeze-out average of sigma v [GeV^-2] of one X X* pair that leaves Omega h2 = 0.12."""
    temperature = m_x / x_f
    return (
        OMEGA_H2_PREFACTOR
        * 2.0
        * x_f
        / (OMEGA_H2 * math.sqrt(math.pi / 45.0) * M_PLANCK * _speed(temperature))
    )


def _speed(temperature: jax.Array) -> jax.Array:
    """Smooth stand-in for h (1 + dln h/dln T / 3)/sqrt(g) of the SM plasma, to a few per cent."""
    ln_t = jnp.log(temperature)
    total = jnp.asarray(2.536)
    for height, centre, width in (
        (0.387, -8.98, 0.21),
        (0.526, -3.44, 0.68),
        (2.003, -2.04, 0.18),
        (0.448, -0.32, 0.63),
    ):
        total = total + height * (1.0 + jnp.tanh((ln_t - centre) / width))
    return total


class Coordinates(eqx.Module):
    """Bijection between the samplers' coordinates y (dimension,) and the prior's x.

    ``adapted=False`` leaves lambda_phix alone (for comparison); so does a fixed lambda_phix, or a
    model without it.
    """

    prior: Prior
    adapted: bool = eqx.field(static=True, default=True)

    @property
    def shell_axis(self) -> int | None:
        """Axis of lambda_phix, if it is straightened."""
        names = self.prior.names
        if not self.adapted or "lambda_phix" not in names:
            return None
        axis = names.index("lambda_phix")
        return axis if is_log(self.prior.parameters[axis]) else None

    def to_box(self, y: jax.Array) -> jax.Array:
        """y -> x of one point."""
        return self.prior.box_from_unconstrained(self.to_unconstrained(y))

    def to_unconstrained(self, y: jax.Array) -> jax.Array:
        """y -> the prior's t, of one point."""
        return self._sheared(y, 1.0)

    def from_unconstrained(self, t: jax.Array) -> jax.Array:
        """t -> y, of one point."""
        return self._sheared(t, -1.0)

    def to_box_many(self, y: np.ndarray) -> np.ndarray:
        """y -> x for arrays (..., dimension)."""
        return in_lanes(_to_box_rows, self, y.reshape(-1, y.shape[-1]), cheap=True).reshape(y.shape)

    def from_box(self, x: jax.Array) -> jax.Array:
        """x -> y of one point."""
        return self.from_unconstrained(self.prior.unconstrained_from_box(x))

    def physical(self, y: jax.Array) -> tuple[ParameterSet, dict[str, jax.Array], jax.Array]:
        """y of one point -> parameters, nuisances and the normalised ln prior density in y.

        The shear has Jacobian one: the density is that of the unsheared coordinates.
        """
        t = self.to_unconstrained(y)
        params, nuisances = self.prior.physical(self.prior.box_from_unconstrained(t))
        return params, nuisances, self.prior.log_density(t)

    def values(self, y: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters (physical units), then nuisances: arrays (...) of y (..., dimension)."""
        params, nuisances = self.prior.physical(self.to_box_many(y))
        sampled = {info.name: getattr(params, info.name) for info in self.prior.parameters}
        return {name: np.asarray(value) for name, value in (sampled | nuisances).items()}

    def to_upper_branch(self, y: jax.Array) -> jax.Array:
        """Distance along the shell axis of y (dimension,) from the straightened shell to the
        estimate of its upper branch; ``y[shell_axis]`` is not read."""
        params, _ = self.prior.physical(self.prior.box_from_unconstrained(y))
        return log10_lambda_shell(params.as_dark_higgs(), upper=True) - self._shell(y)

    def _sheared(self, t: jax.Array, sign: float) -> jax.Array:
        axis = self.shell_axis
        return t if axis is None else t.at[axis].add(sign * self._shell(t))

    def _shell(self, t: jax.Array) -> jax.Array:
        # The shell reads the box coordinates of the others, the same on both sides of the shear.
        params, _ = self.prior.physical(self.prior.box_from_unconstrained(t))
        return log10_lambda_shell(params.as_dark_higgs())


@top_level_jit
def _to_box_rows(coordinates: Coordinates, y: jax.Array) -> jax.Array:
    return jax.vmap(coordinates.to_box)(y)
