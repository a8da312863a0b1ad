"""Neutrino decoupling with a light Z': momentum-averaged equations, solved to N_eff.

State and equations follow the (T, mu) method of arXiv:2001.04466 for the species gamma + e+-,
three neutrinos with one common temperature, and Z' of mass m (2018 version with mu = 0:
arXiv:1812.05605, applied to L_mu-L_tau in arXiv:1901.02010). The time is N = ln a. Exchange:

* weak interactions e+- <-> nu (``plasma.weak_exchange``);
* Z' <-> nu nubar (muon and tau flavours), Gamma = g^2 m/(12 pi): instantaneous equilibrium in
  closures A, B, D, dynamical in C;
* Z' <-> e+ e- through kinetic mixing (coupling e epsilon to the electron),
  Gamma_ee = (alpha epsilon^2 m/3)(1 + 2r) sqrt(1 - 4r), r = m_e^2/m^2, zero below 2 m_e:
  energy and number rates Gamma_ee h_2 and Gamma_ee h_1 with h_2 = 3 m^3 T K_2(m/T)/(2 pi^2),
  h_1 = 3 m^2 T K_1(m/T)/(2 pi^2), each minus its inverse.

Closures:

* ``"A"``: Z' shares T with the neutrinos, no chemical potentials, no mixing.
* ``"B"``: A with Z' <-> e+ e-.
* ``"D"`` (recommended for g > 1e-7): B with mu_nu evolved and mu_Z' = 2 mu_nu. Nothing but the
  resonance e+e- <-> Z' <-> nu nubar changes the neutrino number below 1 MeV.
* ``"C"``: Z' with its own T and mu, produced by inverse decays (freeze-in and late equilibration);
  for m > 1 MeV and 1e-15 <= g < 3e-8, where it meets D to 5e-5. Above, and for lighter Z'
  already at g > 1e-9 (m/100 keV)^(1/2), the relaxation rate exceeds what fixed steps resolve and
  the result may be NaN.

Dark matter and H1 lighter than about 20 MeV can be added to closures A, B and D
(:func:`light_dark_matter`, :func:`light_h1`).

Left out: muons and pions (so T < 30 MeV physics only), nu nu <-> Z'Z' (matters only for
epsilon = 0), flavour-dependent temperatures, spectral distortions; ``n_eff_theory_error`` in
``n_eff`` covers them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmltdm_jax.dark_matter import DarkMatter
from lmltdm_jax.numerics.rosenbrock import integrate
from lmltdm_jax.observables import plasma as pl

CLOSURES = ("A", "B", "C", "D")
_STEPS = {"A": 500, "B": 500, "C": 2400, "D": 500}
_MAX_GAP = 100.0  # exp(-100) is the least Z' occupation followed in closure C
_N_EFF_FACTOR = 8 / 7 * (11 / 4) ** (4 / 3)


_Kinds = tuple[tuple[float, float, int], ...]


class Species(NamedTuple):
    """Particles in equilibrium with neutrinos and Z' until gone: entropy goes to that bath.

    Their own freeze-out is left out: what stays behind (dark matter) has no energy to speak of.
    """

    mass: jax.Array | float
    """GeV"""
    dof: float
    weight: float
    """mu = weight mu_nu in closure D: the units of neutrino number it carries"""
    statistics: int = 1
    """1 for bosons, -1 for fermions"""


def light_dark_matter(kind: type[DarkMatter], mass: jax.Array | float) -> Species:
    """X and X* (chi and its antiparticle), mass in GeV, in equilibrium by X X* <-> nu nubar.

    In closure D that fixes mu_X = mu_nu. X X* <-> Z' Z' alone would mean mu_X = 2 mu_nu, and both
    together change the neutrino number, which is closure B while X are there.
    """
    return Species(mass, 2.0 * kind.spin_states, 1.0, kind.statistics)


def light_h1(m_h1: jax.Array | float) -> Species:
    """H1, mass in GeV, in equilibrium by H1 <-> Z' Z' (on or off shell)."""
    return Species(m_h1, 1.0, 4.0)


def _hubble(rho: jax.Array) -> jax.Array:
    return jnp.sqrt(8 * math.pi / 3 * rho) / pl.M_PLANCK


def _width_ee(m: jax.Array, epsilon: jax.Array) -> jax.Array:
    """Gamma(Z' -> e+ e-) [MeV] for m in MeV; zero, with zero gradient, below threshold."""
    r = (pl.M_ELECTRON / m) ** 2
    is_open = r < 0.25
    velocity = jnp.sqrt(jnp.where(is_open, 1 - 4 * r, 1.0))
    width = pl.ALPHA * epsilon**2 * m / 3 * (1 + 2 * r) * velocity
    return jnp.where(is_open, width, 0.0)


def _width_nu(m: jax.Array, g_x: jax.Array) -> jax.Array:
    return g_x**2 * m / (12 * math.pi)


def _solve2(a, b, c, d, u, v):
    """(p, q) with a p + b q = u, c p + d q = v."""
    det = a * d - b * c
    return (d * u - b * v) / det, (a * v - c * u) / det


class _Bath(NamedTuple):
    """Everything at T_nu in powers of it: sums over species, and derivatives along (ln T_nu, eta).

    ``n`` counts neutrinos: a species with mu = w mu_nu carries w units.
    """

    n: jax.Array
    n_lnt: jax.Array
    n_eta: jax.Array
    rho: jax.Array
    enthalpy: jax.Array
    rho_lnt: jax.Array
    rho_eta: jax.Array


def _massive(x, eta, dof: float, weight: float, statistics: int = 1) -> _Bath:
    """Particles of mass x T_nu with mu = weight mu_nu, in equilibrium with the neutrinos."""
    z = pl.massive_moments(x, x - weight * eta, statistics)
    size = dof / pl.Z_DOF * jnp.exp(weight * eta - x)
    e1 = z.k1 + x * z.n1  # integral of (E/T) f (1 +- f)
    e2 = z.k2 + 2 * x * z.k1 + x**2 * z.n1
    rho = z.kinetic + x * z.n
    return _Bath(
        n=weight * size * z.n,
        n_lnt=weight * size * e1,
        n_eta=weight**2 * size * z.n1,
        rho=size * rho,
        enthalpy=size * (rho + z.p),
        rho_lnt=size * e2,
        rho_eta=weight * size * e1,
    )


def _equilibrium_rhs(y, m, width_ee, closure: str, with_z: bool, masses=(), kinds=()):
    """Closures A, B, D: y = (ln T_gamma/MeV, d = ln T_nu/T_gamma, eta = mu_nu/T_nu), y' = dy/dN.

    ``masses`` [MeV] and ``kinds`` (degrees of freedom, weight, statistics): further species.
    """
    ln_t, d, eta = y
    t = jnp.exp(ln_t)
    em, nu = pl.electromagnetic(ln_t), pl.neutrino_moments(eta)
    ratio3, ratio4 = jnp.exp(3 * d), jnp.exp(4 * d)
    c_rho, c_n = pl.weak_exchange(em, t, d, eta)

    neutrinos = _Bath(nu.n, 3 * nu.n, nu.n_eta, nu.rho, 4 / 3 * nu.rho, 4 * nu.rho, nu.rho_eta)
    species = [neutrinos]
    to_x = jnp.exp(-d) / t
    for mass, kind in zip(masses, kinds, strict=True):
        species.append(_massive(mass * to_x, eta, *kind))
    if with_z:
        # each Z' carries two units of neutrino number and mu_Z' = 2 mu_nu
        species.append(_massive(m * to_x, eta, pl.Z_DOF, 2.0))
        if closure != "A":
            x = m / t
            h1, h2 = pl.decay_densities(x)
            ratio1, ratio2 = pl.log_density_ratios(x, d)
            scale = -width_ee * x**4 * jnp.exp(-x)
            c_rho = c_rho + scale * h2 * jnp.expm1(2 * eta + ratio2)
            # two neutrinos per event
            c_n = c_n + 2 * scale / x * h1 * jnp.expm1(2 * eta + ratio1)

    bath = _Bath(*(sum(column[1:], column[0]) for column in zip(*species, strict=True)))
    hubble = _hubble(t**4 * (em.rho + ratio4 * bath.rho))
    gained_rho, gained_n = c_rho / hubble, c_n / hubble  # over T_gamma^4, T_gamma^3
    dln_t = (-3 * em.enthalpy - gained_rho) / em.drho_dlnt
    rate_rho = -3 * bath.enthalpy + gained_rho / ratio4
    if closure == "D":
        rate_n = -3 * bath.n + gained_n / ratio3
        dln_t_nu, deta = _solve2(
            bath.n_lnt, bath.n_eta, bath.rho_lnt, bath.rho_eta, rate_n, rate_rho
        )
    else:
        dln_t_nu, deta = rate_rho / bath.rho_lnt, jnp.zeros_like(d)
    return jnp.stack([dln_t, dln_t_nu - dln_t, deta])


def _dynamical_rhs(y, m, width_ee, width_nu):
    """Closure C: y = (ln T_gamma, d, eta, z = ln T_Z/T_nu, v), y' = dy/dN.

    v = -ln f_Z at rest, i.e. gap = (m - mu_Z)/T_Z = ln(1 + e^v): positive whatever the solver does.
    """
    ln_t, d, eta, z, v = y
    t = jnp.exp(ln_t)
    em, nu = pl.electromagnetic(ln_t), pl.neutrino_moments(eta)
    ratio3, ratio4 = jnp.exp(3 * d), jnp.exp(4 * d)
    weak_rho, weak_n = pl.weak_exchange(em, t, d, eta)

    x_g = m / t
    x_nu = x_g * jnp.exp(-d)
    x_z = x_nu * jnp.exp(-z)
    gap = jax.nn.softplus(v)
    bose = pl.massive_moments(x_z, gap)
    size = jnp.exp(-gap)  # the true moments are size * bose, in units of T_Z
    # Gain minus loss over m^4 exp(-gap)
    (n_g, e_g), (n_nu, e_nu), (n_z, e_z) = (pl.decay_densities(x) for x in (x_g, x_nu, x_z))
    # The loss is Maxwell-Boltzmann like the gain, exp(mu/T - x) = exp(-gap).
    # A vanishing floor on the gain stops ln f from running to -1e4 long after the decay.
    from_nu = jnp.exp(2 * eta - x_nu + gap) + jnp.exp(gap - _MAX_GAP)
    from_ee = jnp.exp(gap - x_g)
    nu_rho, nu_n = width_nu * (from_nu * e_nu - e_z), width_nu * (from_nu * n_nu - n_z)
    ee_rho, ee_n = width_ee * (from_ee * e_g - e_z), width_ee * (from_ee * n_g - n_z)

    rho_z = bose.kinetic + x_z * bose.n
    hubble = _hubble(t**4 * (em.rho + ratio4 * (nu.rho + jnp.exp(4 * z) * size * rho_z)))
    in_g, in_nu, in_z = size * x_g**4, size * x_nu**4, x_z**4  # m^4 over T^4
    dln_t = (-3 * em.enthalpy - (weak_rho + in_g * ee_rho) / hubble) / em.drho_dlnt
    dln_t_nu, deta = _solve2(
        3 * nu.n,
        nu.n_eta,
        4 * nu.rho,
        nu.rho_eta,
        -3 * nu.n + (weak_n / ratio3 - 2 * in_nu / x_nu * nu_n) / hubble,
        -4 * nu.rho + (weak_rho / ratio4 - in_nu * nu_rho) / hubble,
    )
    # Number and kinetic energy against (ln T_Z at fixed gap, -gap): no cancellation for x_z >> 1
    total_n, total_rho = nu_n + ee_n, nu_rho + ee_rho
    dln_t_z, minus_dgap = _solve2(
        bose.k1,
        bose.n1,
        bose.k2,
        bose.k1,
        -3 * bose.n + in_z / x_z * total_n / hubble,
        -3 * (bose.kinetic + bose.p) + in_z * (total_rho - total_n) / hubble,
    )
    dv = -minus_dgap / jax.nn.sigmoid(v)
    return jnp.stack([dln_t, dln_t_nu - dln_t, deta, dln_t_z - dln_t_nu, dv])


def _range(m, width_nu=None):
    """(initial T [MeV], number of e-folds): from well above m to e+- gone and Z' decayed."""
    t_start = jnp.hypot(20.0, m / 2.5)
    inverse_end = 1 / 3e-3 + 100 / m
    if width_nu is not None:
        t_start = jnp.hypot(20.0, 4.0 * m)
        # Gamma = H, H = 4.4e-22 T^2/MeV, at the decay of a frozen-in Z'
        inverse_end = inverse_end + 8 * jnp.sqrt(4.4e-22 / width_nu)
    return t_start, jnp.log(t_start * inverse_end) + 0.4


def _freeze_in_start(m, t_start, width_nu):
    """Closure C at T >> m, on the attractor whether or not the Z' is in equilibrium there.

    With the production rate over H growing as a^3, n_Z/n_eq = kappa/(1 + kappa) with
    kappa = Gamma <m/E>/(3 H); the spectrum of inverse decays is softer, T_Z = (2/3) T_nu.
    """
    x = m / t_start
    n_rate, e_rate = pl.decay_densities(x)
    em, nu = pl.electromagnetic(jnp.log(t_start)), pl.neutrino_moments(jnp.zeros_like(m))
    kappa = width_nu * n_rate / e_rate / (3 * _hubble(t_start**4 * (em.rho + nu.rho)))
    z = math.log(2 / 3) / (1 + kappa)
    v = jnp.log(jnp.expm1(x)) - jnp.log(kappa / (1 + kappa)) + 3 * z
    return jnp.stack([jnp.log(t_start), 0.0 * m, 0.0 * m, z, v])


def _final_state(m, g_x, epsilon, masses, closure: str, with_z: bool, steps: int, kinds: _Kinds):
    width_ee = _width_ee(m, epsilon)
    if closure == "C":
        width_nu = _width_nu(m, g_x)
        t_start, length = _range(m, width_nu)
        y0 = _freeze_in_start(m, t_start, width_nu)

        def rhs(y):
            return _dynamical_rhs(y, m, width_ee, width_nu)
    else:
        t_start, length = _range(m)
        y0 = jnp.stack([jnp.log(t_start), 0.0 * m, 0.0 * m])

        def rhs(y):
            return _equilibrium_rhs(y, m, width_ee, closure, with_z, masses, kinds)

    return integrate(rhs, y0, length, steps)


class FinalState(NamedTuple):
    """Neutrinos and photons after e+- annihilation and Z' decay, of one solve."""

    n_eff: jax.Array
    """(8/7)(11/4)^(4/3) rho_nu/rho_gamma"""
    t_nu_over_t_gamma: jax.Array
    eta_nu: jax.Array
    """mu_nu/T_nu, the same for neutrinos and antineutrinos; 0 in closures A and B"""


def _outputs(inputs, closure: str, with_z: bool, steps: int, kinds: _Kinds) -> jax.Array:
    m, g_x, epsilon, *masses = inputs
    _, d, eta, *_ = _final_state(m, g_x, epsilon, masses, closure, with_z, steps, kinds)
    n_eff = _N_EFF_FACTOR * jnp.exp(4 * d) * pl.neutrino_moments(eta).rho / (math.pi**2 / 15)
    return jnp.stack([n_eff, jnp.exp(d), eta])


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3, 4))
def _solve(inputs, closure: str, with_z: bool, steps: int, kinds: _Kinds) -> jax.Array:
    return _outputs(inputs, closure, with_z, steps, kinds)


@_solve.defjvp
def _solve_jvp(closure, with_z, steps, kinds, primals, tangents):
    # A few inputs, three outputs: forward sensitivities serve reverse mode too, at a third of the
    # compile and run time of transposing the scan.
    (inputs,), (tangent,) = primals, tangents

    def twice(v):
        value = _outputs(v, closure, with_z, steps, kinds)
        return value, value

    jacobian, value = jax.jacfwd(twice, has_aux=True)(inputs)
    return value, jacobian @ tangent


_solve_jit = jax.jit(_solve, static_argnums=(1, 2, 3, 4))


def thermal_history_ode(
    m_zp: jax.Array,
    g_x: jax.Array,
    epsilon: jax.Array,
    closure: str = "D",
    steps: int | None = None,
    species: Sequence[Species] = (),
) -> FinalState:
    """N_eff, T_nu/T_gamma and mu_nu/T_nu after e+- annihilation and Z' decay.

    Args:
        m_zp: Z' mass [GeV], scalar; 1e-6 to 0.3.
        g_x: gauge coupling, scalar; enters closure C only.
        epsilon: real kinetic mixing, scalar; the Z' couples to charge with strength e epsilon.
            Only its square matters. Not used by closure A.
        closure: ``"A"``, ``"B"``, ``"C"`` or ``"D"``, see the module docstring.
        steps: integration steps; the default gives 1e-5 on N_eff.
        species: further light ones, e.g. ``[light_h1(7e-3)]``; not with closure C.

    Works under jit, vmap, forward and reverse differentiation, along the masses of species too.
    """
    if closure not in CLOSURES:
        raise ValueError(f"closure must be one of {CLOSURES}, got {closure!r}")
    if species and closure == "C":
        raise ValueError("closure C has no species besides neutrinos and Z'")
    masses = [1e3 * one.mass for one in species]
    inputs = jnp.stack([jnp.asarray(v, float) for v in (1e3 * m_zp, g_x, epsilon, *masses)])
    kinds = tuple((one.dof, one.weight, one.statistics) for one in species)
    return FinalState(*_solve_jit(inputs, closure, True, steps or _STEPS[closure], kinds))


def standard_model_ode(closure: str = "D", steps: int | None = None) -> FinalState:
    """The same without a Z', with (C, D) or without (A, B) neutrino chemical potential."""
    closure = "D" if closure in ("C", "D") else "B"
    inputs = jnp.array([1.0, 1.0, 0.0])
    return FinalState(*_solve_jit(inputs, closure, False, steps or _STEPS[closure], ()))


def n_eff_ode(
    m_zp: jax.Array,
    g_x: jax.Array,
    epsilon: jax.Array,
    closure: str = "D",
    steps: int | None = None,
) -> jax.Array:
    """N_eff of :func:`thermal_history_ode`, same arguments.

    Subtract ``n_eff_sm_ode`` of the same closure to get Delta N_eff.
    """
    return thermal_history_ode(m_zp, g_x, epsilon, closure, steps).n_eff


def n_eff_sm_ode(closure: str = "D", steps: int | None = None) -> jax.Array:
    """N_eff without a Z', see :func:`standard_model_ode`."""
    return standard_model_ode(closure, steps).n_eff
