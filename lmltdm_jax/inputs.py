"""Measured Standard Model inputs as one pytree, loaded from ``data/inputs/<name>.toml``.

Every number there has a source, a year and a status; none is repeated in code.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import tomllib
from importlib import resources

import equinox as eqx
import jax

from lmltdm_jax.errors import InputError

_Real = jax.Array | float


class StandardModel(eqx.Module):
    """Inputs shared by every observable. GeV units; lifetimes in seconds (suffix free, see TOML).

    ``kappa_sb`` is the s-b-h coupling 3 sqrt2 G_F m_t^2 |V_ts* V_tb| m_b / (16 pi^2 v_h).
    Presets choose the file; a test or a user replaces single values with :meth:`replace`.
    """

    alpha: _Real
    g_f: _Real
    sin2_theta_w: _Real
    alpha_em_mz_inv: _Real
    alpha_s_mz: _Real
    m_z: _Real
    m_w: _Real
    m_e: _Real
    m_mu: _Real
    m_tau: _Real
    m_t: _Real
    m_b: _Real
    m_c: _Real
    m_s: _Real
    m_d: _Real
    v_h: _Real
    m_h2: _Real
    gamma_h2_sm: _Real
    br_h_zz_4nu: _Real
    m_bplus: _Real
    m_b0: _Real
    m_kplus: _Real
    m_k0: _Real
    m_kstar0: _Real
    m_piplus: _Real
    m_pi0: _Real
    tau_bplus: _Real
    tau_b0: _Real
    tau_kplus: _Real
    tau_kl: _Real
    v_ts_v_tb: _Real
    v_ts_v_td_re: _Real
    v_ts_v_td_im: _Real
    v_tb_v_ts_nunu: _Real
    x_t: _Real
    kappa_sb: _Real
    bk_whitened: jax.Array | None = None
    """(5,) shift of the B -> K form factors along their whitened directions; None: central"""
    a_zero_factor: _Real = 1.0
    """on the B -> K* form factor A_0"""
    kappa_sd_factor: _Real = 1.0
    """on the s-d-h coupling of kaons, which is computed from m_t, m_s and CKM elements"""
    h1_running: _Real | None = None
    """z of the theory error of a broad H1's line shape; None: not computed"""

    @classmethod
    def load(cls, name: str) -> StandardModel:
        """Inputs ``talk2024`` (the talk's) or ``pdg2026`` (newest); raises InputError otherwise."""
        table = input_table(name)
        return cls(**{name: entry["value"] for name, entry in table.items()})

    def replace(self, **changes: _Real) -> StandardModel:
        """A copy with some inputs changed."""
        return dataclasses.replace(self, **changes)

    @property
    def electric_charge(self) -> _Real:
        """e = sqrt(4 pi alpha) at zero momentum."""
        return (4.0 * math.pi * self.alpha) ** 0.5


@functools.cache
def input_table(name: str) -> dict[str, dict]:
    """The whole TOML table of an input set: value, error, unit, source and status of each key."""
    path = resources.files("lmltdm_jax.data") / "inputs" / f"{name}.toml"
    if not path.is_file():
        raise InputError(f"unknown input set '{name}'; known: {', '.join(input_sets())}")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def input_sets() -> list[str]:
    """Names of the shipped input sets."""
    folder = resources.files("lmltdm_jax.data") / "inputs"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith("toml"))
