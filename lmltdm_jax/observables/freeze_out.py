"""When X freezes out, and into what it annihilates then."""

from __future__ import annotations

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline

from lmltdm_jax.model import Point
from lmltdm_jax.numerics.safe import safe_divide
from lmltdm_jax.observables.relic_density import FreezeOutHistory, freeze_out_history
from lmltdm_jax.observables.thermal_average import Annihilation

DEPARTURE = 1.5
"""Freeze-out is where Y - Y_eq = 1.5 Y_eq, the convention of micrOMEGAs."""

FINAL_STATES = {
    "vector": ("nunu", "ee", "mumu", "tautau"),
    "scalar": ("ee", "mumu", "tautau", "hadrons"),
    "zpzp": ("zpzp",),
    "hh": ("h1h1", "h1h2", "h2h2"),
    "zph": ("zph1", "zph2"),
}
"""Final states of the rows of each family of :mod:`.annihilation`, whatever mediates them; further
rows (free quarks) belong to the last one."""

CHANNELS = tuple(dict.fromkeys(name for names in FINAL_STATES.values() for name in names))
"""Final states, each once."""

LEAST_SHARE = 1e-12
"""Smaller shares read 0. Those of channels far below threshold fall by more than e from one x of
the table to the next, which no interpolation follows; they start at about 1e-18."""

_LEAST_DEPARTURE = 1e-9
_NEWTON_STEPS = 6
_LATE = 200.0
"""ln(Y/Y_eq) far beyond freeze-out"""


class FreezeOut(eqx.Module):
    """x_f = m_x/T of freeze-out, <sigma v> of one pair there [GeV^-2], shares by final state."""

    x: jax.Array
    sigma_v: jax.Array
    shares: dict[str, jax.Array]
    """Of each of :data:`CHANNELS` in int_{x_f}^inf dx/x^2 sqrt(g_*) <sigma v>, which is what
    removes X after freeze-out (1/Y_today = 1/Y_f + this integral, times constants). They add up
    to 1; all are 0 where X does not annihilate at all, and those below :data:`LEAST_SHARE`."""


def freeze_out(point: Point, pair: Annihilation) -> FreezeOut:
    """Freeze-out of one point from its ``annihilation`` (table of ``N_X`` nodes)."""
    m_x = jnp.asarray(point.params.m_x, float)
    history = freeze_out_history(m_x, pair.sigma_v, point.dark_matter.spin_states)
    xi = _departure(history)
    interpolate = _spline(len(history.x), 0)
    integral = _spline(len(history.x), -1)
    rows = pair.weighted((integral(jnp.ones(())) - integral(xi)) * history.loss)
    shares = dict.fromkeys(CHANNELS, jnp.zeros(()))
    for family, values in rows.items():
        names = FINAL_STATES[family]
        for i, value in enumerate(values):
            name = names[min(i, len(names) - 1)]
            shares[name] = shares[name] + value
    total = sum(shares.values(), jnp.zeros(()))
    shares = {name: safe_divide(value, total) for name, value in shares.items()}
    return FreezeOut(
        freeze_out_x(history),
        jnp.exp(interpolate(xi) @ jnp.log(pair.sigma_v)),
        {name: jnp.where(share > LEAST_SHARE, share, 0.0) for name, share in shares.items()},
    )


def freeze_out_x(history: FreezeOutHistory) -> jax.Array:
    """m_x/T where Y - Y_eq = 1.5 Y_eq for the first time."""
    return jnp.exp(_spline(len(history.x), 0)(_departure(history)) @ np.log(history.x))


def _departure(history: FreezeOutHistory) -> jax.Array:
    """xi where Y/Y_eq - 1 first passes :data:`DEPARTURE`.

    A cubic through four places in ln(Y/Y_eq - 1), which is nearly straight in x before freeze-out
    and after it, while ln(Y/Y_eq) bends within one step of the table at x = 60 and more.
    """
    n = len(history.x) - 1
    # Long after freeze-out it overflows, which the backward pass would turn into NaN.
    departure = jnp.expm1(jnp.minimum(history.ln_departure, _LATE))
    # In equilibrium it is rounding; the places around freeze-out have at least 1e-4.
    known = departure > _LEAST_DEPARTURE
    f = jnp.log(jnp.where(known, departure, _LEAST_DEPARTURE) / DEPARTURE)
    # Y_eq dies out like exp(-x) and Y does not: there always is such a place, after the first.
    after = jnp.argmax(f > 0.0)
    start = jnp.clip(after - 2, 0, n - 3)
    values = jax.lax.dynamic_slice(f, (start,), (4,))
    c = np.linalg.inv(np.vander(np.arange(4.0), increasing=True)) @ values

    def value(t: jax.Array) -> jax.Array:
        return ((c[3] * t + c[2]) * t + c[1]) * t + c[0]

    def slope(t: jax.Array) -> jax.Array:
        return (3.0 * c[3] * t + 2.0 * c[2]) * t + c[1]

    left = (after - 1 - start).astype(float)
    t = left + 0.5
    for _ in range(_NEWTON_STEPS):
        t = jnp.clip(t - value(t) / slope(t), left, left + 1.0)
    # The last step adds nothing to the value, and the derivative of the implicit function.
    t = jax.lax.stop_gradient(t)
    t = t - value(t) / jax.lax.stop_gradient(slope(t))
    return (start + t) / n


@functools.cache
def _pieces(n: int, order: int) -> np.ndarray:
    """(intervals, powers, n), lowest power first: the spline through unit vectors on [0, 1]."""
    spline = CubicSpline(np.linspace(0.0, 1.0, n), np.eye(n))
    spline = spline.antiderivative() if order < 0 else spline
    return spline.c[::-1].transpose(1, 0, 2).copy()


def _spline(n: int, order: int) -> Callable[[jax.Array], jax.Array]:
    """xi -> (n,): weights of n equally spaced values in their spline or (-1) its integral."""
    pieces = _pieces(n, order)

    def weights(xi: jax.Array) -> jax.Array:
        index = jnp.clip((xi * (n - 1)).astype(int), 0, n - 2)
        t = xi - index / (n - 1)
        return t ** np.arange(pieces.shape[1]) @ jnp.asarray(pieces)[index]

    return weights
