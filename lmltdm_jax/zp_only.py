"""Models whose dark matter sees the Z' only: what relic density and g-2 mean without a dark Higgs.

The Z' mass is of Stueckelberg type: the limit q_phi -> 0 at fixed m_zp, in which the vev of Phi
grows without bound and H1 decouples from everything. These models embed in the dark-Higgs model
with sin(theta) = 0, lambda_phix = 0 and an H1 close to that limit: heavier than all energies, with
quartics below 1e-6 and Gamma/m below 1e-8. The rest of the engine then sees no H1 signal anywhere,
as exact zeros where sin(theta) or lambda_phix multiplies it.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Self

import jax

from lmltdm_jax.dark_matter import ComplexScalar, DarkMatter, DiracFermion
from lmltdm_jax.parameters import ParameterInfo, Parameters, ParameterSet, parameter_info

M_H1_DECOUPLED = 1e5
"""GeV"""
Q_PHI_DECOUPLED = 1e-9
"""v_phi = m_zp/(g_x q_phi) > 1e8 GeV for m_zp > 1 MeV and g_x < 1e-2: quartics below 1e-6"""

M_DM_PRIOR = (1e-3, 20.0)
"""GeV; lower than with a dark Higgs: the relic density of a light Z' asks for half its mass."""


def _mass(name: str, latex: str) -> ParameterInfo:
    changes = {"name": name, "latex": latex, "prior": M_DM_PRIOR}
    return dataclasses.replace(parameter_info("m_x"), **changes)


def _charge(name: str, latex: str, particle: str) -> ParameterInfo:
    """Of order one, as q_phi is: a large charge would leave the pole without a reason."""
    changes = {"prior": parameter_info("q_phi").prior, "scale": "log", "latex": latex}
    changes |= {"name": name, "description": f"charge of {particle}"}
    return dataclasses.replace(parameter_info("q_x"), **changes)


def _decoupled(
    m_zp: jax.Array | float, g_x: jax.Array | float, m: jax.Array | float, q: jax.Array | float
) -> Parameters:
    return Parameters(
        m_zp=m_zp,
        g_x=g_x,
        sin_theta=0.0,
        m_x=m,
        m_h1=M_H1_DECOUPLED,
        q_phi=Q_PHI_DECOUPLED,
        lambda_phix=0.0,
        q_x=q,
    )


class ZpScalarParameters(ParameterSet):
    """Complex scalar X of charge q_x under the Z', nothing else (p-wave, near the Z' pole)."""

    model: ClassVar[str] = "zp-scalar"
    table: ClassVar[tuple[ParameterInfo, ...]] = (
        parameter_info("m_zp"),
        parameter_info("g_x"),
        _mass("m_x", r"m_X"),
        _charge("q_x", r"Q_X", "X"),
    )
    dark_matter: ClassVar[type[DarkMatter]] = ComplexScalar
    has_dark_higgs: ClassVar[bool] = False

    m_zp: jax.Array | float
    g_x: jax.Array | float
    m_x: jax.Array | float
    q_x: jax.Array | float = 1.0

    @classmethod
    def benchmark(cls) -> Self:
        """The talk's Z' with charge 1; m_x is the root of Omega h2 = 0.12 below the pole."""
        return cls(0.0115, 5e-4, 0.0038121060623199474, 1.0)

    def as_dark_higgs(self) -> Parameters:
        return _decoupled(self.m_zp, self.g_x, self.m_x, self.q_x)


class ZpFermionParameters(ParameterSet):
    """Dirac fermion chi of charge q_chi under the Z', vector-like (s-wave, near the Z' pole)."""

    model: ClassVar[str] = "zp-fermion"
    table: ClassVar[tuple[ParameterInfo, ...]] = (
        parameter_info("m_zp"),
        parameter_info("g_x"),
        _mass("m_chi", r"m_\chi"),
        _charge("q_chi", r"Q_\chi", "chi"),
    )
    dark_matter: ClassVar[type[DarkMatter]] = DiracFermion
    dark_matter_mass: ClassVar[str] = "m_chi"
    has_dark_higgs: ClassVar[bool] = False

    m_zp: jax.Array | float
    g_x: jax.Array | float
    m_chi: jax.Array | float
    q_chi: jax.Array | float = 1.0

    @classmethod
    def benchmark(cls) -> Self:
        """The talk's Z' with charge 1; m_chi is the root of Omega h2 = 0.12 below the pole."""
        return cls(0.0115, 5e-4, 0.0038553309494173808, 1.0)

    def as_dark_higgs(self) -> Parameters:
        return _decoupled(self.m_zp, self.g_x, self.m_chi, self.q_chi)
