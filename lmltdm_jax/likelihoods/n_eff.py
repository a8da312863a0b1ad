"""N_eff from the CMB, alone or together with a local measurement of H0."""

import equinox as eqx
import jax

from lmltdm_jax.likelihoods.base import Context, GaussianTerm
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.observables.n_eff import n_eff_theory_error


class NEff(GaussianTerm):
    """Gaussian in N_eff with the error of the thermal history (closure D) in quadrature."""

    measurement: Measurement
    name: str = eqx.field(static=True, default="n_eff")

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.n_eff

    def theory_error(self, context: Context) -> jax.Array:
        return n_eff_theory_error(context.point.params.m_zp, context.observables.delta_n_eff)


def combine_with_local_h0(
    n_eff: Measurement, h0_cmb: float, slope: float, h0_scatter: float, h0_local: Measurement
) -> Measurement:
    """Gaussian in N_eff equivalent to Planck's (N_eff, H0) plane times a local H0.

    The product of N(N_eff, H0; means, covariance) and N(H0; local), integrated over H0, is
    N(N_eff) x N(local H0; h0_cmb + slope (N_eff - mean), sqrt(local^2 + sigma_{H0|N}^2)): Gaussian
    in N_eff up to a constant. It replaces the one-dimensional N_eff data; using both would count
    Planck twice.

    Args:
        n_eff: CMB N_eff, symmetric error.
        h0_cmb: CMB mean of H0 at the mean N_eff [km/s/Mpc].
        slope: dH0/dN_eff of the CMB degeneracy [km/s/Mpc].
        h0_scatter: sigma(H0 | N_eff) [km/s/Mpc].
        h0_local: the local measurement [km/s/Mpc].
    """
    assert n_eff.value is not None and n_eff.error_up is not None
    assert h0_local.value is not None and h0_local.error_up is not None
    weight_cmb = 1.0 / n_eff.error_up**2
    weight_local = slope**2 / (h0_local.error_up**2 + h0_scatter**2)
    n_local = n_eff.value + (h0_local.value - h0_cmb) / slope
    mean = (weight_cmb * n_eff.value + weight_local * n_local) / (weight_cmb + weight_local)
    sigma = float((weight_cmb + weight_local) ** -0.5)
    return Measurement(
        key=f"{n_eff.key}_x_{h0_local.key}",
        quantity="N_eff preferred by the CMB together with a local H0",
        unit="",
        citation=f"{n_eff.citation}; {h0_local.citation}",
        year=max(n_eff.year, h0_local.year),
        confidence_level=n_eff.confidence_level,
        status=n_eff.status if n_eff.status == h0_local.status else "unverified",
        value=float(mean),
        error_up=sigma,
        error_down=sigma,
        note="derived: H0 integrated out analytically",
    )
