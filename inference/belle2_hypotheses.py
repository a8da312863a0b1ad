"""Which q2 spectrum Belle II's B+ -> K+ nu nu data want: Standard Model, two-body, three-body.

Each hypothesis adds a spectrum to the Standard Model and is fitted with every nuisance of the
published likelihood (:class:`Belle2Shape`, profile). -2 ln L is relative to the saturated model, so
that it is a measure of the goodness of fit as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize
from scipy.stats import chi2

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.belle2_data import bin_edges
from lmltdm_jax.likelihoods.belle2_shape import Belle2Shape
from lmltdm_jax.likelihoods.histfactory import Signal
from lmltdm_jax.likelihoods.histfactory_fit import fit
from lmltdm_jax.model import build_point
from lmltdm_jax.numerics.compiling import top_level_jit
from lmltdm_jax.observables.b_to_k import (
    Spectrum,
    spectrum_bplus_kplus_np,
    spectrum_xx_zero_width,
)
from lmltdm_jax.observables.b_to_k_spectrum import sm_bin_fractions
from lmltdm_jax.parameters import Parameters, parameter_info
from lmltdm_jax.widths import build_widths

_SCANNED, _POLISHED = 2048, 12
_LANES = 32


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """A family of spectra and its best member.

    ``values`` are in the units of the names; ``signal`` is what it expects in each bin at nominal
    nuisances, ``new_physics`` the part that is not the Standard Model's, ``cells`` the expected
    events of every sample at the fitted nuisances, (slots, bins).
    """

    name: str
    values: dict[str, float]
    chi2: float
    """-2 ln L relative to the saturated model, constraints of the nuisances included"""
    br_np: float
    signal: np.ndarray
    new_physics: np.ndarray
    cells: np.ndarray

    @property
    def degrees_of_freedom(self) -> int:
        """Bins less free parameters; nuisances bring their own constraints."""
        return self.signal.size - len(self.values)

    @property
    def p_value(self) -> float:
        """Of ``chi2``; asymptotic, although some bins hold few events."""
        return float(chi2.sf(self.chi2, self.degrees_of_freedom))


@dataclasses.dataclass(frozen=True)
class _Family:
    name: str
    spectrum: Callable[[jax.Array], Spectrum]
    """of a vector: log10 of the values"""
    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __hash__(self) -> int:
        return hash(self.name)


def families(sm: StandardModel) -> tuple[_Family, ...]:
    """Standard Model, two-body, three-body without a width (the talk's formula), and with it.

    The last one varies the model's own parameters over the prior box beside a Z' at the talk's
    point; m_h1 > m_B - m_K in both three-body families.
    """
    threshold = float(np.log10(sm.m_bplus - sm.m_kplus))
    free = ("m_h1", "m_x", "lambda_phix", "q_phi", "sin_theta")
    ranges = np.log10([parameter_info(name).prior for name in free])
    ranges[0, 0] = threshold + 1e-3

    def nothing(_: jax.Array) -> Spectrum:
        return Spectrum(jnp.ones(1), jnp.zeros(1))

    def two_body(v: jax.Array) -> Spectrum:
        return Spectrum(10.0 ** (2.0 * v[:1]), 10.0 ** v[1:])

    def zero_width(v: jax.Array) -> Spectrum:
        params = Parameters.benchmark().replace(m_h1=10.0 ** v[0], m_x=10.0 ** v[1])
        shape = spectrum_xx_zero_width(build_point(params, sm))
        return Spectrum(shape.q2, 10.0 ** v[2] * shape.br / jnp.sum(shape.br))

    def model(v: jax.Array) -> Spectrum:
        point = build_point(
            Parameters.benchmark().replace(**dict(zip(free, 10.0**v, strict=True))), sm
        )
        return spectrum_bplus_kplus_np(point, build_widths(point))

    br = (-7.0, -4.0)
    return (
        _Family("Standard Model", nothing, (), (), ()),
        _Family("two-body", two_body, ("m_h1", "br_np"), (-1.0, br[0]), (threshold - 1e-3, br[1])),
        _Family(
            "three-body X X*, zero width",
            zero_width,
            ("m_h1", "m_x", "br_np"),
            (threshold + 1e-3, -2.5, br[0]),
            (1.3, 0.36, br[1]),
        ),
        _Family("three-body, widths", model, free, tuple(ranges[:, 0]), tuple(ranges[:, 1])),
    )


def best_fits(term: Belle2Shape, sm: StandardModel, seed: int = 0) -> Iterator[Hypothesis]:
    """The best member of every family: a scan of random points, then bounded quasi-Newton."""
    for family in families(sm):
        yield _best(term, sm, family, np.random.default_rng(seed))


def _signal(term: Belle2Shape, sm: StandardModel, spectrum: Spectrum) -> Signal:
    return term.signal_of(sm_bin_fractions(sm, bin_edges()), spectrum)


@top_level_jit
def _loglikes(term: Belle2Shape, sm: StandardModel, family: _Family, rows: jax.Array):
    """ln L and its gradient at rows (n, dimension)."""

    def loglike(v: jax.Array) -> jax.Array:
        return fit(
            term.model, _signal(term, sm, family.spectrum(v)), jnp.asarray(term.start)
        ).loglike

    return jax.lax.map(jax.value_and_grad(loglike), rows, batch_size=_LANES)


def _best(
    term: Belle2Shape, sm: StandardModel, family: _Family, rng: np.random.Generator
) -> Hypothesis:
    low, high = np.array(family.low), np.array(family.high)
    best = np.zeros(0)
    if family.names:
        rows = low + (high - low) * rng.uniform(size=(_SCANNED, len(low)))
        value, _ = _loglikes(term, sm, family, jnp.asarray(rows))
        starts = rows[np.argsort(-np.asarray(value))[:_POLISHED]]

        def cost(v: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = _loglikes(term, sm, family, jnp.asarray(v[None]))
            return -float(value[0]), -np.asarray(gradient[0])

        bounds = list(zip(low, high, strict=True))
        results = [minimize(cost, s, jac=True, method="L-BFGS-B", bounds=bounds) for s in starts]
        best = min(results, key=lambda result: result.fun).x
    spectrum = family.spectrum(jnp.asarray(best))
    signal = _signal(term, sm, spectrum)
    result = fit(term.model, signal, jnp.asarray(term.start))
    standard = _signal(term, sm, Spectrum(jnp.ones(1), jnp.zeros(1)))
    return Hypothesis(
        name=family.name,
        values=dict(zip(family.names, (10.0**best).tolist(), strict=True)),
        chi2=-2.0 * float(result.loglike),
        br_np=float(jnp.sum(spectrum.br)),
        signal=np.asarray(signal.nominal),
        new_physics=np.asarray(signal.nominal - standard.nominal),
        cells=np.asarray(term.model.cells(result.alpha, signal)),
    )
