"""NA62's K+ -> pi+ nu nubar: invisible particles with a continuous spectrum, as from H1 off shell.

The peak search (``na62_kpi_x``) looks for a line. An H1 above m_K - m_pi makes none, but decays off
shell into light X X* and Z'Z'. They are signal events of this measurement.
"""

from __future__ import annotations

import dataclasses
from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.base import Context, GaussianTerm
from lmltdm_jax.likelihoods.limit_curve import curve_entry
from lmltdm_jax.likelihoods.measurement import Measurement, measurement_table
from lmltdm_jax.numerics.fence import fence
from lmltdm_jax.observables.kaon_to_pion import nunu_spectrum, spectrum_kplus_piplus_np


class Na62Nunu(GaussianTerm):
    """BR_SM + BR_NP A_NP/A_SM, A the share of a spectrum in the two signal regions of missing mass.

    The measurement is a number of events over the Standard Model's acceptance. Inside the regions
    the acceptance is taken to be the same for both spectra; a vector and a scalar fill them
    differently, and the regions' own acceptances (different pion momenta) are not known here. The
    edges are smeared with the resolution. The line of an H1 on its mass shell belongs to the peak
    search in the same data and is left out: a Gaussian of that search's mass window.
    """

    measurement: Measurement
    _: dataclasses.KW_ONLY
    standard_model: Measurement
    regions: np.ndarray
    """(regions, 2) ends in missing mass squared [GeV^2]"""
    resolution: float = eqx.field(static=True)
    """of missing mass squared [GeV^2]"""
    sm_share: float = eqx.field(static=True)
    peak_window: float = eqx.field(static=True)
    """[GeV]"""
    name: str = eqx.field(static=True, default="na62_kpinunu")

    @classmethod
    def load(cls, key: str = "br_2026") -> Self:
        """The term with a measurement of ``data/measurements/na62_kpinunu.toml``."""
        entry = measurement_table("na62_kpinunu")[key]
        regions, resolution = np.array(entry["signal_regions"]), entry["resolution"]
        q2, density = nunu_spectrum(StandardModel.load("pdg2026"))
        counted = density * np.asarray(share_inside(q2, regions, resolution))
        return cls(
            Measurement.load("na62_kpinunu", key),
            standard_model=Measurement.load("na62_kpinunu", "br_sm"),
            regions=regions,
            resolution=resolution,
            sm_share=float(np.sum(counted) / np.sum(density)),
            peak_window=curve_entry("na62_kpi_x")["mass_window"],
        )

    def fixed_theory_error(self) -> float:
        assert self.standard_model.error_up is not None
        return self.standard_model.error_up

    def prediction(self, context: Context) -> jax.Array:
        assert self.standard_model.value is not None
        # A spectrum of its own: kept out of the fusions of everything else.
        point, widths = fence((context.point, context.widths))
        spectrum = fence(spectrum_kplus_piplus_np(point, widths))
        distance = (jnp.sqrt(spectrum.q2) - point.params.m_h1) / self.peak_window
        off_peak = -jnp.expm1(-0.5 * distance**2)
        inside = share_inside(spectrum.q2, self.regions, self.resolution)
        return self.standard_model.value + jnp.sum(spectrum.br * inside * off_peak) / self.sm_share


def share_inside(q2: jax.Array | np.ndarray, regions: np.ndarray, resolution: float) -> jax.Array:
    """Probability that a missing mass squared of ``q2`` is measured inside one of ``regions``."""
    ends = (regions - q2[:, None, None]) / (2.0**0.5 * resolution)
    return jnp.sum(0.5 * (erf(ends[..., 1]) - erf(ends[..., 0])), 1)
