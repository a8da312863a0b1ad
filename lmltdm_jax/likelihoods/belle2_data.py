"""Belle II's published B+ -> K+ nu nu likelihood: ``data/belle2/`` as model and signal density."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Literal

import numpy as np

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.histfactory import HistFactory, Interpolation
from lmltdm_jax.observables.b_to_k_spectrum import BinnedDensity, sm_bin_fractions
from lmltdm_jax.observables.form_factors import f_plus, hpqcd22

Channels = Literal["ita", "hta", "combined"]
_HADRONIC_TAG = "sgn1_had"
"""Channel of the hadronic tag, the other four are the inclusive tag's."""
FORM_FACTOR_PREFIX = "corr_ff"
"""Nuisances of the B -> K vector form factor: they move the Standard Model part only."""


@functools.cache
def _document(name: str) -> Mapping:
    path = resources.files("lmltdm_jax.data") / "belle2" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def belle2_workspace() -> Mapping:
    """The published workspace, unchanged, as a pyhf JSON document."""
    return _document("workspace")


def belle2_model(
    channels: Channels = "combined", interpolation: Interpolation = "smooth"
) -> HistFactory:
    """Inclusive tag ("ita", 24 bins), hadronic tag ("hta", 6 bins) or both."""
    names = [channel["name"] for channel in belle2_workspace()["channels"]]
    if channels != "combined":
        names = [name for name in names if (name == _HADRONIC_TAG) == (channels == "hta")]
    return HistFactory.from_workspace(belle2_workspace(), names, interpolation)


def strength_fit(channels: Channels) -> Mapping:
    """Fit of the signal strength mu of the Standard Model's shape: mu, loglike, alpha by name."""
    return _document("strength_fits")[channels]


def bin_edges() -> np.ndarray:
    """Edges of the bins of generated q2 [GeV^2], (101,)."""
    low, high, bins = _document("number_density")["edges"]
    return np.linspace(low, high, bins + 1)


def null_fractions() -> np.ndarray:
    """BR of the generator's Standard Model in each bin of generated q2, (100,)."""
    null = _document("number_density")["null_model"]
    sm = StandardModel.load("talk2024").replace(
        m_bplus=null["m_b_meson"],
        m_kplus=null["m_kaon"],
        tau_bplus=null["tau_b"],
        **{key: null[key] for key in ("g_f", "alpha_em_mz_inv", "x_t", "sin2_theta_w")},
        v_tb_v_ts_nunu=null["v_tb_v_ts_nunu"],
    )
    a0, a1, a2 = null["f_plus"]
    coefficients = np.array([a0, 0.0, 0.0, a1, a2, 0.0, 0.0, 0.0])
    scale = (null["chiral_log"] / hpqcd22()["chiral_log"]) ** 2
    form_factor = functools.partial(f_plus, coefficients=coefficients)
    return scale * np.asarray(sm_bin_fractions(sm, bin_edges(), form_factor))


def events_per_bin(model: HistFactory) -> np.ndarray:
    """Events per bin of reconstruction and of generated q2 >= 0, (model bins, 100)."""
    tables = _document("number_density")["events"]
    empty = len(bin_edges()) - 1
    rows = [
        np.array(tables[name])[:, 1:] if name in tables else np.zeros((size, empty))
        for name, size in model.channels
    ]
    return np.concatenate(rows)


def signal_density(model: HistFactory) -> BinnedDensity:
    """Events per unit of branching fraction at each q2, for the bins that have a signal."""
    return BinnedDensity.fit(
        bin_edges(), (events_per_bin(model) / null_fractions())[signal_bins(model)]
    )


def signal_bins(model: HistFactory) -> np.ndarray:
    """Indices of the bins with signal: not those off resonance."""
    return np.flatnonzero(model.nominal[0] > 0.0)
