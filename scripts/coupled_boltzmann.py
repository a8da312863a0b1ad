"""Freeze-out of X with its own temperature: number density and temperature solved together.

The coupled Boltzmann equations of Binder, Bringmann, Gustafsson and Hryczuk (arXiv:1706.07433),
derived here from the moments of the Boltzmann equation. X is Maxwell-Boltzmann at T_x, with
T_x = <p^2/(3 E)>; s is the entropy density, H' = H/(1 + dln h/dln T/3), Y = Y_X + Y_X*:

    dln Y/dln x = s/(2 H') [Yeq^2/Y <sv>_T - Y <sv>_Tx]
    dln(T_x/T)/dln x = 1 - 2 H/H' + gamma/H' (T/T_x - 1) + H/H' <p^4/E^3>_Tx/(3 T_x)
        + s/(2 H') {Y [<sv> - <sv>_2]_Tx + Yeq^2/Y [(T/T_x) <sv>_2 - <sv>]_T}

<sv>_2 weighs each pair with p^2/(3 E T) of one of its particles. gamma is the momentum exchange

    gamma = 1/(3 m_x T) sum int d^3k/(2 pi)^3 f (1 -+ f) int d(-t) (-t) sum|M|^2/(64 pi k w m_x^2)

with nu_mu, nu_tau, e, mu, tau (Z', H1, H2 exchange), s, c, b quarks above 150 MeV (H1, H2), thermal
Z' (Higgs exchange and Compton) and H1. Left out: X Z' <-> X H1, pions, nucleons, light quarks and
gluons, and departures of the momentum distribution from Maxwell-Boltzmann.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from bath_scattering import momentum_exchange
from scipy import special
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline

from lmltdm_jax.constants import M_PLANCK, OMEGA_H2_PREFACTOR
from lmltdm_jax.observables.annihilation_base import Energy, rates
from lmltdm_jax.observables.annihilation_rows import annihilation_rows
from lmltdm_jax.observables.relic_density import _plasma

X_END = 1e6
LN_X = np.linspace(0.0, math.log(1e9), 160)
"""x of T_x in the tables of averages"""
N_INTERVALS = 420
NARROWEST = 1e-10  # Gamma/m of H1 that the quadrature resolves; below: area as one node
GL4 = np.polynomial.legendre.leggauss(4)
LAGUERRE = special.roots_genlaguerre(16, 0.5)


# --- averages -------------------------------------------------------------------------------------


@jax.jit
def _pair_rate(point, widths, delta, gamma_h1):
    """R = 4 P^2 sqrt(s) sigma at sqrt(s) = m_x (2 + delta), H1 widened to gamma_h1; (n,).

    And the area in s that the widening took from the H1 pole.
    """
    rows = annihilation_rows(point, widths)
    m_x = point.params.m_x
    s, above = (m_x * (2.0 + delta)) ** 2, m_x**2 * delta * (delta + 4.0)
    threshold = ((rows.mass_a + rows.mass_b) ** 2)[:, None]
    shape = (threshold.shape[0], delta.size)
    width = rows.pole_width.at[1].set(gamma_h1)
    mass, wide = rows.in_slots((rows.pole_mass, width))
    terms = rows.terms(
        Energy(
            jnp.broadcast_to(s, shape),
            jnp.broadcast_to(above, shape),
            jnp.maximum(s - threshold, 0.0),
        )
    )
    offset = s - (mass**2)[:, :, None]
    found = rates(terms, rows.alpha, offset, (mass * wide)[:, :, None])
    is_open = s > threshold
    _, is_h1 = rows.in_slots((rows.pole_mass, jnp.asarray([0.0, 1.0, 0.0])))
    peak = terms.quadratic * jnp.sum(rows.alpha**2 * is_h1, axis=1)[:, None]
    sums = [jnp.sum(jnp.where(is_open, v, 0.0), axis=0) for v in (found, peak)]
    narrow = point.params.m_h1 * rows.pole_width[1]
    lost = math.pi * (1.0 / narrow - 1.0 / (point.params.m_h1 * gamma_h1))
    return sums[0], sums[1] * lost


def _break_points(point, widths, gamma_h1):
    """delta = sqrt(s)/m_x - 2 where the integrand changes, sorted, padded to a fixed number."""
    p = point.params
    found = [np.geomspace(1e-13, 60.0, 100)]
    rows = annihilation_rows(point, widths)
    for threshold in np.unique(np.asarray(rows.mass_a + rows.mass_b)) / float(p.m_x) - 2.0:
        if 0.0 < threshold < 40.0:
            found.append(threshold + np.append(0.0, np.geomspace(1e-6, 1.0, 12)))
    poles = (
        (p.m_zp, widths.zp.total),
        (p.m_h1, gamma_h1),
        (point.sm.m_h2, widths.h2.sm + widths.h2.h1h1 + widths.h2.zpzp + widths.h2.xx),
    )
    for mass, width in poles:
        u, w = float(mass / p.m_x), float(width / p.m_x)
        if 2.0 < u + 10.0 * w and u < 42.0:
            steps = np.geomspace(0.1 * w, max(u, w), 30)
            found.append(u - 2.0 + np.concatenate([-steps, [0.0], steps]))
    points = np.unique(np.concatenate(found))
    points = points[(points > 0.0) & (points < 60.0)]
    if len(points) > N_INTERVALS + 1:
        raise ValueError(f"{len(points)} break points")
    return np.pad(points, (0, N_INTERVALS + 1 - len(points)), mode="edge")


def _scaled_bessel(order, z):
    """exp(z) K_order(z); scipy's gives nan above 1e7."""
    mu = 4.0 * order**2
    series = 1.0 + (mu - 1.0) / (8.0 * z) * (1.0 + (mu - 9.0) / (16.0 * z))
    large = np.sqrt(0.5 * math.pi / z) * series
    return np.where(z > 1e4, large, special.kve(order, np.minimum(z, 1e4)))


def averages(point, widths):
    """ln <sv> and ln <sv>_2 [GeV^-2] of one pair at x = exp(LN_X)."""
    m_x, m_h1 = float(point.params.m_x), float(point.params.m_h1)
    gamma_h1 = max(float(widths.h1.total), NARROWEST * m_h1)
    edges = _break_points(point, widths, gamma_h1)
    half = 0.5 * np.diff(edges)[:, None]
    delta = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * GL4[0]).ravel()
    weight = (half * GL4[1]).ravel()
    at_pole = max(m_h1 / m_x - 2.0, 1e-13)
    rate, lost = _pair_rate(point, widths, np.append(delta, at_pole), gamma_h1)
    u = np.append(2.0 + delta, 2.0 + at_pole)
    # One node more: the lost area in s, int ds = 2 m_x^2 u du.
    lost = float(lost[-1]) / (2.0 * m_x**2 * u[-1]) if m_h1 > 2.0 * m_x else 0.0
    integrand = u * np.append(np.asarray(rate)[:-1] * weight, lost)
    keep = integrand > 0.0
    u, integrand = u[keep], integrand[keep]
    x = np.exp(LN_X)[:, None]
    kernel = _scaled_bessel(1, x * u) * np.exp(-x * (u - 2.0))
    prefactor = x[:, 0] / (4.0 * m_x**3 * _scaled_bessel(2, x[:, 0]) ** 2)
    first = prefactor * (kernel @ integrand)
    second = prefactor * ((kernel * _temperature_weight(x, u)) @ integrand)
    return np.log(np.maximum([first, second], 1e-100))


def _temperature_weight(x, u):
    """<p_1^2/(3 E_1 T)> of pairs with sqrt(s) = m u in a gas at T = m/x.

    The energy E of the pair has the weight exp(-E/T) sqrt(E^2 - s), and E_1 is uniform in
    E/2 -+ D, D = sqrt(1 - 4 m^2/s) sqrt(E^2 - s)/2. Non-relativistic: 1/2 + k^2/(3 m T).
    """
    z = x * u
    total = weights = 0.0
    half_beta = 0.5 * np.sqrt((u - 2.0) * (u + 2.0)) / u
    for node, weight in zip(*LAGUERRE, strict=True):
        excess = node / z
        energy = u * (1.0 + excess)
        d = half_beta * u * np.sqrt(excess * (2.0 + excess))
        r = 2.0 * d / energy
        small = r < 1e-3
        safe = np.where(small, 0.5, r)
        series = 1.0 + r**2 / 3.0
        inverse = 2.0 / energy * np.where(small, series, np.arctanh(safe) / safe)
        factor = weight * np.sqrt(2.0 + excess)
        total = total + factor * (0.5 * energy - inverse)
        weights = weights + factor
    return x * total / (3.0 * weights)


@functools.cache
def _adiabatic():
    """Spline in ln x of <p^4/E^3>/(3 T): 1 for T >> m, 5 T/m for T << m."""
    x = np.exp(LN_X)
    nodes, weights = special.roots_genlaguerre(60, 0.5)
    e = 1.0 + nodes / x[:, None]  # E/m; p E dE with p = sqrt(e^2 - 1)
    p2 = nodes / x[:, None] * (2.0 + nodes / x[:, None])
    base = weights * np.sqrt(2.0 + nodes / x[:, None]) * e
    return CubicSpline(LN_X, np.sum(base * p2**2 / e**3, 1) / np.sum(base, 1) * x / 3.0)


# --- equations ------------------------------------------------------------------------------------


@functools.cache
def _h_and_g():
    """Splines in ln T of h and of h (1 + dln h/dln T/3)/sqrt(g); constant outside the table."""
    plasma = _plasma()
    grid = plasma.first + plasma.spacing * np.arange(plasma.coefficients.shape[2] + 1)
    scale = plasma.spacing ** np.array([3, 2, 1, 0])[:, None]
    splines = []
    for c in plasma.coefficients:
        poly = CubicSpline(grid, np.zeros_like(grid))
        poly.c = c / scale
        splines.append(poly)
    return grid[0], grid[-1], splines


def thermal_rates(m_x, x):
    """(Y_eq exp(x), s/(2 H') [GeV^2], H/H', H' [GeV]) at T = m_x/x."""
    first, last, (h_of, speed_of) = _h_and_g()
    at = np.clip(np.log(m_x / x), first, last)
    h, speed = h_of(at), speed_of(at)
    slope = np.where((at > first) & (at < last), h_of(at, 1) / h, 0.0)
    ratio = 1.0 + slope / 3.0
    yeq = 45.0 / (2.0 * math.pi**4) * x**2 * _scaled_bessel(2, x) / h
    rate = 0.5 * math.sqrt(math.pi / 45.0) * M_PLANCK * m_x / x * speed
    sqrt_g = h * ratio / speed
    hubble = math.sqrt(8.0 * math.pi**3 / 90.0) * sqrt_g * (m_x / x) ** 2 / M_PLANCK
    return yeq, rate, ratio, hubble / ratio


class Freezeout:
    """One point: tables of averages and momentum exchange, and the two solutions."""

    def __init__(self, point, widths):
        self.m_x = float(point.params.m_x)
        self.ln_sv, self.ln_sv2 = averages(point, widths)
        self.ln_x = np.linspace(0.0, math.log(X_END), 90)
        self.species = momentum_exchange(point, widths, np.exp(self.ln_x))
        self.gamma = np.maximum(sum(self.species.values()), 1e-200)
        _, _, _, self.hubble = thermal_rates(self.m_x, np.exp(self.ln_x))

    def solve(self, coupled=True, gamma_scale=1.0):
        """(Omega h^2, solution in ln x of [ln Y, ln(T_x/T)])."""
        fine = np.linspace(0.0, math.log(X_END), 1500)
        x = np.exp(fine)
        yeq, rate, ratio, hubble = thermal_rates(self.m_x, x)
        gamma = gamma_scale * np.exp(CubicSpline(self.ln_x, np.log(self.gamma))(fine))
        table = np.stack([np.log(rate), np.log(gamma / hubble), ratio, np.log(yeq)])
        bath = CubicSpline(fine, table, axis=1)
        pair = CubicSpline(LN_X, np.stack([self.ln_sv, self.ln_sv2, _adiabatic()(LN_X)]), axis=1)

        def rhs(ln_x, w):
            # Bounds that only a trial step of the solver meets.
            ln_y, theta = min(w[0], 50.0), min(max(w[1], -40.0), 5.0) if coupled else 0.0
            ln_rate, ln_gamma, ratio, ln_yeq = bath(ln_x)
            ln_yeq -= math.exp(ln_x)
            rate, cool = math.exp(ln_rate), math.exp(-theta)
            sv, sv2, _ = pair(ln_x)
            sv, sv2 = math.exp(sv), math.exp(sv2)
            produce = rate * math.exp(min(2.0 * ln_yeq - ln_y, 300.0))
            destroy = rate * math.exp(ln_y)
            if not coupled:
                return [(produce - destroy) * sv, 0.0]
            own = pair(min(max(ln_x - theta, 0.0), LN_X[-1]))
            own_sv, own_sv2, adiabatic = math.exp(own[0]), math.exp(own[1]), own[2]
            heat = math.exp(ln_gamma) * (cool - 1.0) + destroy * (own_sv - own_sv2)
            heat += produce * (cool * sv2 - sv)
            return [
                produce * sv - destroy * own_sv,
                1.0 - ratio * (2.0 - adiabatic) + heat,
            ]

        def jacobian(ln_x, w):
            # scipy's own steps scale with |w|, which is 0 in equilibrium.
            columns = [
                (np.array(rhs(ln_x, w + h)) - np.array(rhs(ln_x, w - h))) / 2e-5
                for h in 1e-5 * np.eye(2)
            ]
            return np.stack(columns, axis=1)

        start = [math.log(yeq[0]) - 1.0, 0.0]
        found = solve_ivp(rhs, (0.0, fine[-1]), start, "Radau", rtol=1e-5, atol=1e-6, jac=jacobian)
        if not found.success:
            raise RuntimeError(found.message)
        y, theta = math.exp(found.y[0, -1]), found.y[1, -1] if coupled else 0.0
        last = pair(min(max(fine[-1] - theta, 0.0), LN_X[-1]))[0]
        tail = math.exp(bath(fine[-1])[0] + last) * y
        return OMEGA_H2_PREFACTOR * self.m_x * y / (1.0 + tail), found
