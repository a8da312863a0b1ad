"""Planck's (N_eff, H0) plane times one local H0: the Hubble-tension argument as a likelihood."""

from __future__ import annotations

import equinox as eqx
import jax

from lmltdm_jax.likelihoods.base import Context, GaussianTerm
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.observables.hubble import CmbPlane, planck_plane


class Hubble(GaussianTerm):
    """N(N_eff, H0; Planck's means and covariance) N(H0; local), H0 integrated out analytically.

    What is left is Gaussian in N_eff, up to a constant (how well the two H0 agree), so the term
    reads like one on N_eff: ``measurement`` is what the product prefers. The error of the thermal
    history is integrated out as in :class:`.n_eff.NEff`. It holds Planck's N_eff: a likelihood with
    another N_eff term of the CMB beside it would count that twice, and is an error.

    Data: ``data/measurements/hubble.toml`` and ``n_eff.toml``.
    """

    measurement: Measurement
    name: str = eqx.field(static=True, default="hubble")

    @classmethod
    def load(cls, h0: str) -> Hubble:
        """With ``"talk_local"``, ``"shoes_2022"`` or ``"distance_network_2026"`` as local H0."""
        return cls(combine_with_local_h0(planck_plane(), Measurement.load("hubble", h0)))

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.n_eff

    def theory_error(self, context: Context) -> jax.Array:
        return context.observables.n_eff_theory_error


def combine_with_local_h0(plane: CmbPlane, h0_local: Measurement) -> Measurement:
    """Gaussian in N_eff equivalent to the CMB's plane times a local H0 [km/s/Mpc].

    The product integrated over H0 is N(N_eff; CMB) N(local H0; h0 + slope (N_eff - mean),
    local^2 + scatter^2), a product of two Gaussians in N_eff.
    """
    assert h0_local.value is not None and h0_local.error_up is not None
    weight_cmb = plane.n_eff_error**-2
    weight_local = plane.slope**2 / (h0_local.error_up**2 + plane.scatter**2)
    n_local = plane.n_eff + (h0_local.value - plane.h0) / plane.slope
    mean = (weight_cmb * plane.n_eff + weight_local * n_local) / (weight_cmb + weight_local)
    sigma = float((weight_cmb + weight_local) ** -0.5)
    n_eff = Measurement.load("n_eff", "planck18")
    cmb = Measurement.load("hubble", "planck18_neff_plane")
    sources = (n_eff, cmb, h0_local)
    return Measurement(
        key="_x_".join(source.key for source in sources),
        quantity="N_eff preferred by the CMB together with a local H0",
        unit="",
        citation="; ".join(source.citation for source in sources),
        year=max(source.year for source in sources),
        confidence_level=n_eff.confidence_level,
        status="checked" if all(s.status == "checked" for s in sources) else "unverified",
        value=float(mean),
        error_up=sigma,
        error_down=sigma,
        note="derived: H0 integrated out analytically",
        data_sets=tuple(sorted({name for source in sources for name in source.data_sets})),
    )
