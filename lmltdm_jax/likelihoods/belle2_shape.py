"""Belle II B+ -> K+ nu nu with the q2 shape: the published binned likelihood for any spectrum."""

from __future__ import annotations

import dataclasses
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.likelihoods.base import Context, Term
from lmltdm_jax.likelihoods.belle2_data import (
    FORM_FACTOR_PREFIX,
    Channels,
    belle2_model,
    bin_edges,
    events_per_bin,
    null_fractions,
    signal_bins,
    signal_density,
    strength_fit,
)
from lmltdm_jax.likelihoods.histfactory import HistFactory, Signal, loglike_per_bin
from lmltdm_jax.likelihoods.histfactory_fit import Fit, fit, objective
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.numerics.safe import safe_sqrt
from lmltdm_jax.observables.b_to_k import Spectrum, spectrum_bplus_kplus_np
from lmltdm_jax.observables.b_to_k_spectrum import BinnedDensity, fold, sm_bin_fractions

Treatment = Literal["profile", "laplace", "sampled"]


class Belle2Shape(Term):
    """HistFactory likelihood of arXiv:2507.12393 for SM plus new physics; build with :meth:`load`.

    The nuisances of the experiment are maximised ("profile"), integrated with their unit-normal
    priors ("laplace") or left to a sampler ("sampled": ``nuisance_names`` float, one an alpha and
    one a bin; give them to ``Likelihood.with_nuisances``). The new-physics part gets the signal's
    relative uncertainties except those of the vector form factor.
    """

    measurement: Measurement
    _: dataclasses.KW_ONLY
    model: HistFactory
    density: BinnedDensity
    sm_events: np.ndarray
    """(bins, q2 bins) events per unit of branching fraction: the published step function"""
    placed: np.ndarray
    """(bins with signal, bins): 1 where a row of the density belongs"""
    relative_shifts: np.ndarray
    relative_even: np.ndarray
    """(histosys, bins) of the signal"""
    new_physics: np.ndarray
    """(histosys,) 1 where the nuisance applies to new physics"""
    start: np.ndarray
    best: float = eqx.field(static=True)
    """ln L at the best signal strength of the Standard Model's shape"""
    treatment: Treatment = eqx.field(static=True, default="profile")
    name: str = eqx.field(static=True, default="belle2_shape")

    @classmethod
    def load(cls, treatment: Treatment = "profile", channels: Channels = "combined") -> Belle2Shape:
        """The term with the shipped data; ``channels`` "ita", "hta" or both."""
        model = belle2_model(channels)
        nominal = model.nominal[0]
        keys = {"ita": "br_ita_2024", "hta": "br_hta_2024", "combined": "br_shape_2025"}
        strength = strength_fit(channels)
        return cls(
            measurement=Measurement.load("belle2_bknunu", keys[channels]),
            model=model,
            density=signal_density(model),
            sm_events=events_per_bin(model) / null_fractions(),
            placed=np.eye(len(nominal))[signal_bins(model)],
            relative_shifts=model.shifts[:, 0] / np.where(nominal > 0.0, nominal, np.inf),
            relative_even=model.even / np.where(nominal > 0.0, nominal, np.inf),
            new_physics=np.array(
                [float(not name.startswith(FORM_FACTOR_PREFIX)) for name in model.histosys]
            ),
            start=np.array([strength["alpha"][name] for name in model.parameters]),
            best=strength["loglike"],
            treatment=treatment,
        )

    def signal(self, context: Context) -> Signal:
        """Expected signal of the Standard Model and new physics at a point."""
        # The total rate is made of the same nodes: the compiler computes them once.
        spectrum = spectrum_bplus_kplus_np(context.point, context.widths)
        # The published nuisances move the form factors of this part.
        sm = context.point.sm.replace(bk_whitened=None)
        return self.signal_of(sm_bin_fractions(sm, bin_edges()), spectrum)

    def signal_of(self, sm_fractions: jax.Array, spectrum: Spectrum) -> Signal:
        """Expected signal of Standard Model fractions per bin of q2 plus any spectrum."""
        standard = self.sm_events @ sm_fractions
        extra = self.placed.T @ fold(spectrum, self.density)
        moved = standard + self.new_physics[:, None] * extra
        return Signal(standard + extra, self.relative_shifts * moved, self.relative_even * moved)

    def fit(self, context: Context) -> Fit:
        """Best nuisances of a point, profile and Laplace ln L."""
        return fit(self.model, self.signal(context), jnp.asarray(self.start))

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.br_bplus_kplus_inv

    def pull(self, context: Context) -> jax.Array:
        """sqrt(2 (best - ln L_profile)), positive for too much signal, 0 where it fits better.

        ``best`` is that of the Standard Model's shape at its best strength, which is the rate
        printed as data: the number is that of standard deviations for one strength parameter.
        """
        signal = self.signal(context)
        result = fit(self.model, signal, jnp.asarray(self.start))
        slope = jax.jvp(
            lambda mu: objective(self.model, signal.scaled(mu), result.alpha), (1.0,), (1.0,)
        )[1]
        return jnp.sign(slope) * safe_sqrt(2.0 * (self.best - result.loglike))

    @property
    def nuisance_names(self) -> tuple[str, ...]:
        if self.treatment != "sampled":
            return ()
        bins = [f"stat_{i}" for i in range(len(self.model.observed))]
        return tuple(f"belle2_{name}" for name in (*self.model.parameters, *bins))

    def loglike(self, context: Context) -> jax.Array:
        if self.treatment == "sampled":
            zero = jnp.zeros(())
            given = [context.nuisances.get(name, zero) for name in self.nuisance_names]
            normals = jnp.stack([jnp.asarray(value, float) for value in given])
            alpha, z = jnp.split(normals, [len(self.model.parameters)])
            # The prior of floating nuisances is added by the whole likelihood.
            return self.loglike_at(context, alpha, z) + 0.5 * jnp.sum(normals**2)
        result = self.fit(context)
        return result.loglike if self.treatment == "profile" else result.laplace

    def loglike_at(self, context: Context, alpha: jax.Array, z: jax.Array) -> jax.Array:
        """ln L at given nuisances: alpha in the order of ``model.parameters``, z one per bin.

        Their unit-normal priors are included.
        """
        return loglike_per_bin(self.model, self.signal(context), alpha, z)
