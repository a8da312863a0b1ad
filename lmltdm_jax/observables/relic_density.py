"""Relic abundance of dark matter and its antiparticle by thermal freeze-out.

X and X* stand for them; a Dirac fermion has two spin states each.
"""

from __future__ import annotations

import functools
import math
from importlib import resources
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import special
from scipy.interpolate import CubicSpline

from lmltdm_jax.constants import M_PLANCK, OMEGA_H2_PREFACTOR
from lmltdm_jax.model import Point
from lmltdm_jax.observables.annihilation import Hadrons
from lmltdm_jax.observables.thermal_average import sigma_v
from lmltdm_jax.observables.thermal_tables import x_of
from lmltdm_jax.widths import Widths

_N_STEPS = 1024
N_X = 129
"""Nodes of the <sigma v> table."""
_BLOCK = 8
_PLASMA_NODES = 1200


class RelicDensity(eqx.Module):
    """Omega h^2 of X and X* together, and what it was computed from."""

    omega_h2: jax.Array
    x: jax.Array
    """m_x/T of the table"""
    sigma_v: jax.Array
    """<sigma v> of one X X* pair [GeV^-2] at ``x``; the rate in Y = Y_X + Y_X* has half of it"""


class _Plasma(NamedTuple):
    """Cubics on a uniform grid of ln T: rows h_eff and h (1 + dln h/dln T / 3)/sqrt(g_eff)."""

    first: float
    spacing: float
    coefficients: np.ndarray
    """(2, 4, intervals), highest power first, in units of the spacing"""


@functools.cache
def _plasma() -> _Plasma:
    path = resources.files("lmltdm_jax.data") / "relic_density" / "gstar_drees2015.csv"
    with path.open(encoding="utf-8") as stream:
        t, h, g = np.loadtxt(stream, delimiter=",", skiprows=1, unpack=True)
    order = np.argsort(t)
    t, h, g = (v[order][t[order] > 0.0] for v in (t, h, g))
    ln_t = np.log(t)
    ln_h, ln_g = CubicSpline(ln_t, np.log(h)), CubicSpline(ln_t, np.log(g))
    grid = np.linspace(ln_t[0], ln_t[-1], _PLASMA_NODES)
    rate = np.exp(ln_h(grid) - 0.5 * ln_g(grid)) * (1.0 + ln_h(grid, 1) / 3.0)
    resampled = [CubicSpline(grid, np.exp(ln_h(grid))), CubicSpline(grid, rate)]
    spacing = grid[1] - grid[0]
    scale = spacing ** np.array([3, 2, 1, 0])[:, None]
    return _Plasma(grid[0], spacing, np.stack([s.c * scale for s in resampled]))


def _plasma_at(temperature: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(h_eff, h (1 + dln h/dln T / 3)/sqrt(g)); constant outside the table (2e-5 to 1e4 GeV)."""
    plasma = _plasma()
    intervals = plasma.coefficients.shape[2]
    position = jnp.clip((jnp.log(temperature) - plasma.first) / plasma.spacing, 0.0, intervals)
    index = jnp.minimum(position.astype(int), intervals - 1)
    u = position - index
    c = jnp.asarray(plasma.coefficients)[:, :, index]
    values = ((c[:, 0] * u + c[:, 1]) * u + c[:, 2]) * u + c[:, 3]
    return values[0], values[1]


class _Grid(NamedTuple):
    x: np.ndarray
    """(n + 1,)"""
    dlnx: np.ndarray
    """(n + 1,): d ln x/d xi"""
    yeq: np.ndarray
    """(n + 1,): Y_eq h_eff with one spin state"""
    ln_yeq: np.ndarray
    """(n + 1,): its logarithm, finite where ``yeq`` underflows"""
    upsample: np.ndarray
    """(n + 1, n_x): cubic spline in xi as a matrix"""


@functools.cache
def _grid(n_x: int, n_steps: int) -> _Grid:
    xi = np.linspace(0.0, 1.0, n_steps + 1)
    x = x_of(xi)
    dlnx = CubicSpline(xi, np.log(x))(xi, 1)
    # Y_eq = 2 m^2 T K_2(x)/(2 pi^2) / (2 pi^2 h T^3/45)
    ln_yeq = np.log(45.0 / (2.0 * math.pi**4) * x**2 * special.kve(2, x)) - x
    coarse = np.linspace(0.0, 1.0, n_x)
    return _Grid(x, dlnx, np.exp(ln_yeq), ln_yeq, CubicSpline(coarse, np.eye(n_x))(xi))


@jax.custom_jvp
def _step(y: jax.Array, rate: jax.Array, yeq2: jax.Array) -> jax.Array:
    """Backward Euler for dY = -rate (Y^2 - Yeq^2): positive root, in the form without loss."""
    c = y + rate * yeq2
    return 2.0 * c / (1.0 + jnp.sqrt(1.0 + 4.0 * rate * c))


@_step.defjvp
def _step_jvp(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]):
    # new + rate new^2 = y + rate yeq2, differentiated: a third of the operations of the root.
    y, rate, yeq2 = primals
    dy, drate, dyeq2 = tangents
    new = _step(y, rate, yeq2)
    change = dy + rate * dyeq2 + (yeq2 - new**2) * drate
    return new, change / (1.0 + 2.0 * rate * new)


def _block(
    carry: tuple[jax.Array, ...], block: tuple[jax.Array, jax.Array]
) -> tuple[tuple[jax.Array, ...], None]:
    """Eight steps of length h, four of 2h, two of 4h and one of 8h."""
    rate, yeq2 = block
    out = []
    for level, y in enumerate(carry):
        stride = 2**level
        for i in range(stride - 1, _BLOCK, stride):
            y = _step(y, stride * rate[i], yeq2[i])
        out.append(y)
    return tuple(out), None


def _blocks(rate: jax.Array, yeq: jax.Array) -> tuple[jax.Array, jax.Array]:
    return rate[1:].reshape(-1, _BLOCK), (yeq[1:] ** 2).reshape(-1, _BLOCK)


def _extrapolated(y: tuple[jax.Array, ...]) -> jax.Array:
    """ln Y from steps of h, 2h, 4h, 8h (Richardson, fourth order)."""
    # In ln Y the error terms of the coarse levels are smaller than in Y.
    ln_y = jnp.log(jnp.stack(y))
    return (64.0 * ln_y[0] - 56.0 * ln_y[1] + 14.0 * ln_y[2] - ln_y[3]) / 21.0


def _final_yield(rate: jax.Array, yeq: jax.Array) -> jax.Array:
    """Y at the end of the grid."""
    # Recomputed in the backward pass: only the carry is stored, and one array less per step.
    block = jax.checkpoint(_block, prevent_cse=False)
    y, _ = jax.lax.scan(block, (yeq[0],) * 4, _blocks(rate, yeq))
    return jnp.exp(_extrapolated(y))


class FreezeOutHistory(NamedTuple):
    """The solution at n + 1 places, equally spaced in the xi of :func:`x_of` from 0 to 1."""

    x: np.ndarray
    ln_departure: jax.Array
    """ln(Y/Y_eq)"""
    loss: jax.Array
    """d(1/Y)/d xi per <sigma v> [GeV^2], Y_eq neglected"""


def freeze_out_history(m_x: jax.Array, table: jax.Array, spin_states: int = 1) -> FreezeOutHistory:
    """Y(x) of the equation of :func:`relic_density` with <sigma v> ``table`` (N_X,)."""
    grid = _grid(N_X, _N_STEPS)
    rate, h = _rate_and_h(m_x, grid)
    average = jnp.exp(jnp.asarray(grid.upsample) @ jnp.log(table))

    def block(carry: tuple[jax.Array, ...], inputs: tuple[jax.Array, jax.Array]):
        carry, _ = _block(carry, inputs)
        return carry, _extrapolated(carry)

    yeq = spin_states * grid.yeq / h
    _, ln_y = jax.lax.scan(block, (yeq[0],) * 4, _blocks(rate * average / _N_STEPS, yeq))
    ln_yeq = grid.ln_yeq[::_BLOCK] + math.log(spin_states) - jnp.log(h[::_BLOCK])
    departure = jnp.concatenate([jnp.zeros(1), ln_y - ln_yeq[1:]])
    return FreezeOutHistory(grid.x[::_BLOCK], departure, rate[::_BLOCK])


def _rate_and_h(m_x: jax.Array, grid: _Grid) -> tuple[jax.Array, jax.Array]:
    """d xi-rate of Y^2 per <sigma v> (half of it in Y), and h_eff, on the grid.

    s_ent/H (1 + dln h/dln T / 3) = sqrt(pi/45) M_Pl T h (1 + ...)/sqrt(g).
    """
    h, speed = _plasma_at(m_x / grid.x)
    return math.sqrt(math.pi / 45.0) * M_PLANCK * m_x / grid.x * speed * 0.5 * grid.dlnx, h


def relic_density(
    point: Point,
    widths: Widths,
    hadrons: Hadrons = "dispersive",
    n_steps: int = _N_STEPS,
    n_x: int = N_X,
    table: jax.Array | None = None,
) -> RelicDensity:
    """Freeze-out of Y = (n_X + n_X*)/s_entropy without asymmetry.

    dY/dln x = -(s_ent/H) (1 + dln h/dln T / 3) (<sigma v>/2) (Y^2 - Y_eq^2), with
    s_ent = 2 pi^2 h T^3/45, H = sqrt(8 pi^3 g/90) T^2/M_Pl (Gondolo and Gelmini, Nucl. Phys.
    B360 (1991) 145) and the h, g of arXiv:1503.03513; Omega h^2 = 2.742e8 (m_x/GeV) Y_0. The
    equation is solved from equilibrium at x = 1 to x = 1e6 with closed-form implicit steps,
    then continued to T = 0 with <sigma v> constant.

    One bath temperature for all final states (after neutrino decoupling the neutrinos are 1.40
    times colder); only SM particles enter g and h; kinetic equilibrium throughout; tree level. X
    that never annihilates efficiently keeps its abundance at x = 1: huge, and finite.
    ``table``: <sigma v> of this point (n_x,), computed here if not given.
    """
    grid = _grid(n_x, n_steps)
    m_x = jnp.asarray(point.params.m_x, float)
    if table is None:
        table = sigma_v(point, widths, n_x, hadrons)
    average = jnp.exp(jnp.asarray(grid.upsample) @ jnp.log(table))
    per_average, h = _rate_and_h(m_x, grid)
    rate = per_average * average
    y = _final_yield(rate / n_steps, point.dark_matter.spin_states * grid.yeq / h)
    # With <sigma v> constant the rate falls like 1/x: int rate dln x = rate.
    y_today = y / (1.0 + rate[-1] / grid.dlnx[-1] * y)
    return RelicDensity(OMEGA_H2_PREFACTOR * m_x * y_today, jnp.asarray(x_of_table(n_x)), table)


@functools.cache
def x_of_table(n_x: int) -> np.ndarray:
    """x of the <sigma v> table (n_x,)."""
    return x_of(np.linspace(0.0, 1.0, n_x))


def omega_h2(point: Point, widths: Widths, table: jax.Array | None = None) -> jax.Array:
    """Omega h^2 of X and X* together (dimensionless, scalar); see :func:`relic_density`."""
    return relic_density(point, widths, table=table).omega_h2
