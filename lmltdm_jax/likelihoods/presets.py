"""Named sets of inputs, formulas and data. Adding a term to a preset is one line here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from lmltdm_jax.errors import InputError
from lmltdm_jax.likelihoods.base import Term
from lmltdm_jax.likelihoods.belle2_br import Belle2NewPhysicsRate
from lmltdm_jax.likelihoods.belle2_shape import Belle2Shape
from lmltdm_jax.likelihoods.belle_kstar_nunu import BelleKstarNunu
from lmltdm_jax.likelihoods.borexino import BorexinoBe7
from lmltdm_jax.likelihoods.ccfr_trident import CcfrTrident, CcfrTridentBeam
from lmltdm_jax.likelihoods.charm2_trident import Charm2Trident
from lmltdm_jax.likelihoods.cmb_annihilation import CmbAnnihilation
from lmltdm_jax.likelihoods.direct_detection import DirectDetection
from lmltdm_jax.likelihoods.h1_searches import H1ToMuMu, LepH1Invisible
from lmltdm_jax.likelihoods.higgs_invisible import HiggsInvisible
from lmltdm_jax.likelihoods.higgs_signal_strength import HiggsSignalStrength
from lmltdm_jax.likelihoods.hubble import Hubble
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.likelihoods.meson_to_h1 import MesonToH1BestFit, MesonToH1Limit
from lmltdm_jax.likelihoods.muon_g2 import MuonG2
from lmltdm_jax.likelihoods.n_eff import NEff
from lmltdm_jax.likelihoods.na62_kpinunu import Na62Nunu
from lmltdm_jax.likelihoods.na64mu import Na64Mu
from lmltdm_jax.likelihoods.relic_density import RelicDensity
from lmltdm_jax.likelihoods.theory import THEORY_TERMS
from lmltdm_jax.likelihoods.zp_searches import ZpSearch
from lmltdm_jax.observables.compute import ObservableSettings


@dataclasses.dataclass(frozen=True)
class Preset:
    """What a named analysis uses.

    ``nuisances`` names the SM inputs that float within their errors, see :mod:`.nuisances`.
    """

    name: str
    description: str
    inputs: str
    settings: ObservableSettings
    nuisances: tuple[str, ...]
    terms: tuple[Term, ...]


def _talk2024() -> Preset:
    load = Measurement.load
    return Preset(
        name="talk2024",
        description="the talk's numbers: reproduces its picture, not today's data",
        inputs="talk2024",
        settings=ObservableSettings(higgs_invisible="talk"),
        nuisances=(),
        terms=(
            MuonG2(load("muon_g2", "delta_a_mu_2023_wp2020")),
            Belle2NewPhysicsRate(load("belle2_bknunu", "br_np_talk")),
            HiggsInvisible(load("higgs_invisible", "br_inv_talk")),
            Hubble.load("talk_local"),
            RelicDensity(load("relic_density", "planck18")),
            CmbAnnihilation(load("cmb_annihilation", "p_ann_talk")),
            CcfrTrident(load("ccfr_trident", "ccfr_1991")),
        ),
    )


def _current() -> Preset:
    load = Measurement.load
    return Preset(
        name="current",
        description="newest published values (2026), SM g-2 of the 2025 white paper",
        inputs="pdg2026",
        settings=ObservableSettings(higgs_invisible="full"),
        nuisances=("kappa_sb", "a0_bkstar", "h1_running"),
        terms=(
            MuonG2(load("muon_g2", "delta_a_mu_2025_wp2025")),
            Belle2Shape.load(),
            HiggsInvisible(load("higgs_invisible", "br_inv_atlas_2023")),
            NEff.load("act_dr6"),
            RelicDensity(load("relic_density", "planck18"), varying_error=True),
            CmbAnnihilation(load("cmb_annihilation", "p_ann_planck18")),
            CcfrTridentBeam(load("ccfr_trident", "ccfr_1991")),
            BelleKstarNunu(
                load("belle_kstar_nunu", "br_2017"),
                standard_model=load("belle_kstar_nunu", "br_sm"),
            ),
            MesonToH1BestFit.load("babar_k_x"),
            MesonToH1BestFit.load("babar_kstar_x"),
            MesonToH1Limit.load("na62_kpi_x"),
            MesonToH1Limit.load("na62_pi0_invisible"),
            Na62Nunu.load(),
            MesonToH1Limit.load("e949_kpi_x"),
            MesonToH1Limit.load("koto_kpi0_x"),
            ZpSearch.load("babar_4mu"),
            ZpSearch.load("cms_4mu"),
            ZpSearch.load("belle2_invisible"),
            ZpSearch.load("na64e_invisible"),
            ZpSearch.load("white_dwarf"),
            Charm2Trident(load("charm2_trident", "charm2_1990")),
            BorexinoBe7(
                load("borexino", "be7_rate_2017"),
                expected=load("borexino", "be7_expected_b16_gs98"),
            ),
            Na64Mu(load("na64mu", "events_2024")),
            DirectDetection.load("cresst3_si"),
            DirectDetection.load("darkside50_si"),
            DirectDetection.load("xenon1t_si"),
            *(term.load() for term in THEORY_TERMS),
            HiggsSignalStrength(load("higgs_signal_strength", "mu_pdg2026")),
            LepH1Invisible.load("lep_h1_invisible"),
            H1ToMuMu.load("lhcb_bk_mumu"),
            H1ToMuMu.load("lhcb_bkstar_mumu"),
        ),
    )


_PRESETS: dict[str, Callable[[], Preset]] = {"talk2024": _talk2024, "current": _current}


def preset_names() -> list[str]:
    """Names that :func:`load_preset` accepts."""
    return list(_PRESETS)


def load_preset(name: str) -> Preset:
    """The preset of that name; raises :class:`InputError` listing the known ones."""
    if name not in _PRESETS:
        raise InputError(f"unknown preset '{name}'; known: {', '.join(_PRESETS)}")
    return _PRESETS[name]()
