"""Every observable of a point, each computed once; likelihood terms and ``predict`` read these."""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.constants import GEV_INV2_TO_CM3_S, HBAR_GEV_S
from lmltdm_jax.model import Point
from lmltdm_jax.numerics.fence import fence
from lmltdm_jax.observables.b_to_k import (
    br_bplus_kplus_np,
    gamma_b_to_k_h1,
    gamma_b_to_k_xx_zero_width,
)
from lmltdm_jax.observables.b_to_k_nunu import br_bplus_kplus_nunu_sm
from lmltdm_jax.observables.b_to_kstar import br_b0_kstar0_np, gamma_b0_to_kstar0_h1
from lmltdm_jax.observables.borexino import borexino_be7_ratio
from lmltdm_jax.observables.cmb_annihilation import RELATIVE_VELOCITY, cmb_annihilation
from lmltdm_jax.observables.direct_detection import sigma_si
from lmltdm_jax.observables.freeze_out import freeze_out
from lmltdm_jax.observables.h1_escape import br_h1_invisible
from lmltdm_jax.observables.higgs_invisible import br_h2_invisible, br_h2_invisible_talk
from lmltdm_jax.observables.higgs_signal_strength import higgs_signal_strength
from lmltdm_jax.observables.hubble import h0_preferred
from lmltdm_jax.observables.kaon_to_pion import br_kl_pi0_h1, br_kplus_piplus_h1
from lmltdm_jax.observables.muon_g2 import delta_a_mu
from lmltdm_jax.observables.n_eff import (
    N_EFF_SM,
    dark_matter_shift,
    dark_matter_theory_error,
    late_neutrinos,
    n_eff_theory_error,
)
from lmltdm_jax.observables.na64mu import na64mu_yield
from lmltdm_jax.observables.relic_density import N_X, omega_h2
from lmltdm_jax.observables.relic_theory_error import relic_theory_error
from lmltdm_jax.observables.thermal_average import annihilation
from lmltdm_jax.observables.trident import (
    trident_ratio_ccfr,
    trident_ratio_ccfr_100gev,
    trident_ratio_charm2,
)
from lmltdm_jax.widths import Widths


@dataclasses.dataclass(frozen=True)
class ObservableSettings:
    """Choices between a published formula and the complete one.

    ``higgs_invisible``: "talk" counts every H1 pair as invisible and leaves cos^2(theta) out.
    """

    higgs_invisible: Literal["talk", "full"] = "full"


class Observables(eqx.Module):
    """Predictions of one point; GeV units unless the name carries another one."""

    delta_a_mu: jax.Array
    kinetic_mixing: jax.Array
    """Re eps(q^2 = m_zp^2)"""
    n_eff: jax.Array
    delta_n_eff: jax.Array
    br_bplus_kplus_np: jax.Array
    br_bplus_kplus_nunu_sm: jax.Array
    br_bplus_kplus_inv: jax.Array
    """SM + new physics, which do not interfere"""
    br_h2_inv: jax.Array
    higgs_signal_strength: jax.Array
    gamma_h1: jax.Array
    gamma_zp: jax.Array
    br_h1_inv: jax.Array
    """H1 -> X X* and Z'Z' with both Z' invisible, over the total"""
    omega_h2: jax.Array
    omega_h2_relative_error: jax.Array
    """Theory error from kinetic decoupling and the bath, see :mod:`.relic_theory_error`"""
    sigmav_cmb_cm3_s: jax.Array
    p_ann_cm3_s_gev: jax.Array
    trident_ratio_ccfr: jax.Array
    br_bplus_kplus_h1: jax.Array
    """H1 on its mass shell, whatever it decays to; so are the next three"""
    br_b0_kstar0_h1: jax.Array
    br_kplus_piplus_h1: jax.Array
    br_kl_pi0_h1: jax.Array
    br_bplus_kplus_np_zero_width: jax.Array
    """As in the talk: H1 on shell x BR(H1 -> inv) below m_B - m_K, X X* without a width above"""
    br_b0_kstar0_np: jax.Array
    kappa_sb: jax.Array
    trident_ratio_ccfr_100gev: jax.Array
    """With a beam of 100 GeV instead of 160: the range of the theory error"""
    trident_ratio_charm2: jax.Array
    borexino_be7_ratio: jax.Array
    na64mu_yield: jax.Array
    """Expected events at the central efficiency, whose normalisation is not verified"""
    sigma_si_cm2: jax.Array
    """Per nucleon of xenon at a typical momentum transfer"""
    t_nu_over_t_gamma: jax.Array
    """Neutrino over photon temperature once e+- are gone and Z' decayed (T_gamma << 0.1 MeV)"""
    eta_nu: jax.Array
    """mu_nu/T_nu then, the same for neutrinos and antineutrinos of each flavour"""
    delta_n_eff_dark_matter: jax.Array
    """The part of delta_n_eff that light dark matter adds"""
    n_eff_theory_error: jax.Array
    h0_preferred: jax.Array
    """km/s/Mpc; mean of Planck's H0 at this n_eff (LCDM + N_eff), see :mod:`.hubble`"""
    omega_fraction_nunu: jax.Array
    """Share of a final state in the annihilation after freeze-out, see :mod:`.freeze_out`"""
    omega_fraction_ee: jax.Array
    omega_fraction_mumu: jax.Array
    omega_fraction_tautau: jax.Array
    omega_fraction_hadrons: jax.Array
    omega_fraction_zpzp: jax.Array
    omega_fraction_h1h1: jax.Array
    omega_fraction_h1h2: jax.Array
    omega_fraction_h2h2: jax.Array
    omega_fraction_zph1: jax.Array
    omega_fraction_zph2: jax.Array
    x_freezeout: jax.Array
    """m_x/T where Y - Y_eq = 1.5 Y_eq"""
    sigmav_fo_cm3_s: jax.Array
    """<sigma v>/2 of one X X* pair there"""
    sigmav_today_cm3_s: jax.Array
    """sigma v/2 of one X X* pair at relative velocity ``VELOCITY_TODAY``, not averaged"""


VELOCITY_TODAY = 1e-3
"""v/c between X and X* in a galaxy like ours."""


class Relic(NamedTuple):
    """The relic density of a point, and its relative theory error."""

    omega_h2: jax.Array
    relative_error: jax.Array


def relic(point: Point, widths: Widths, table: jax.Array | None = None) -> Relic:
    """By :mod:`.relic_density` and :mod:`.relic_theory_error`; ``table`` as there."""
    table = annihilation(point, widths, N_X).sigma_v if table is None else table
    return Relic(omega_h2(point, widths, table), relic_theory_error(point, table))


def compute_observables(
    point: Point, widths: Widths, settings: ObservableSettings, given: Relic | None = None
) -> Observables:
    """All observables of one point (scalars; batch with ``jax.vmap`` or ``jax.lax.map``).

    ``given``: the point's :func:`relic`, computed here if not given.
    """
    # Between what all observables share and the observables, and behind the largest of them.
    point, widths = fence((point, widths))
    p = point.params
    new_physics = br_bplus_kplus_np(point, widths)
    standard_model = jnp.asarray(br_bplus_kplus_nunu_sm(point.sm))
    velocities = (RELATIVE_VELOCITY, VELOCITY_TODAY)
    pair = fence(annihilation(point, widths, N_X, velocities=velocities))
    at_rest, today = pair.at_velocity
    cmb = cmb_annihilation(point, widths, sigma=at_rest)
    frozen = freeze_out(point, pair)
    abundance = relic(point, widths, pair.sigma_v) if given is None else given
    added = dark_matter_shift(p.m_zp, p.g_x, p.m_x, point.dark_matter)
    neutrinos = late_neutrinos(p.m_zp, p.g_x, added)
    n_eff_error = jnp.hypot(
        n_eff_theory_error(p.m_zp, neutrinos.delta_n_eff - added[0]),
        dark_matter_theory_error(p.m_x, added[0], point.dark_matter),
    )
    n_eff = N_EFF_SM + neutrinos.delta_n_eff
    if settings.higgs_invisible == "talk":
        higgs_invisible = br_h2_invisible_talk(widths)
    else:
        higgs_invisible = br_h2_invisible(point, widths)
    h1_invisible = br_h1_invisible(widths)
    per_width = point.sm.tau_bplus / HBAR_GEV_S
    bplus_kplus_h1 = per_width * gamma_b_to_k_h1(point)
    # These need little of the rest; their own copies keep them out of its fusions.
    searched, searched_widths = fence((point, widths))
    three_body = per_width * gamma_b_to_k_xx_zero_width(point)
    return Observables(
        delta_a_mu=delta_a_mu(point),
        kinetic_mixing=jnp.real(point.kinetic_mixing),
        n_eff=n_eff,
        delta_n_eff=neutrinos.delta_n_eff,
        br_bplus_kplus_np=new_physics,
        br_bplus_kplus_nunu_sm=standard_model,
        br_bplus_kplus_inv=new_physics + standard_model,
        br_h2_inv=higgs_invisible,
        higgs_signal_strength=higgs_signal_strength(point, widths),
        gamma_h1=widths.h1.total,
        gamma_zp=widths.zp.total,
        br_h1_inv=h1_invisible,
        omega_h2=abundance.omega_h2,
        omega_h2_relative_error=abundance.relative_error,
        sigmav_cmb_cm3_s=cmb.sigmav_cm3_s,
        p_ann_cm3_s_gev=cmb.p_ann_cm3_s_gev,
        trident_ratio_ccfr=trident_ratio_ccfr(searched),
        br_bplus_kplus_h1=bplus_kplus_h1,
        br_b0_kstar0_h1=point.sm.tau_b0 / HBAR_GEV_S * gamma_b0_to_kstar0_h1(point),
        br_kplus_piplus_h1=br_kplus_piplus_h1(point),
        br_kl_pi0_h1=br_kl_pi0_h1(point),
        br_bplus_kplus_np_zero_width=bplus_kplus_h1 * h1_invisible + three_body,
        br_b0_kstar0_np=br_b0_kstar0_np(point, widths),
        kappa_sb=jnp.asarray(point.sm.kappa_sb, float),
        trident_ratio_ccfr_100gev=trident_ratio_ccfr_100gev(searched),
        trident_ratio_charm2=trident_ratio_charm2(searched),
        borexino_be7_ratio=borexino_be7_ratio(searched),
        na64mu_yield=na64mu_yield(searched, searched_widths),
        sigma_si_cm2=sigma_si(searched),
        t_nu_over_t_gamma=neutrinos.t_nu_over_t_gamma,
        eta_nu=neutrinos.eta_nu,
        delta_n_eff_dark_matter=added[0],
        n_eff_theory_error=n_eff_error,
        h0_preferred=h0_preferred(n_eff),
        **{f"omega_fraction_{name}": share for name, share in frozen.shares.items()},
        x_freezeout=frozen.x,
        sigmav_fo_cm3_s=0.5 * GEV_INV2_TO_CM3_S * frozen.sigma_v,
        sigmav_today_cm3_s=0.5 * GEV_INV2_TO_CM3_S * sum(jnp.sum(v) for v in today.values()),
    )
