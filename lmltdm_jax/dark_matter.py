"""What the dark matter is: the part of a model that does not depend on its couplings.

A model names one of these classes; they are keys, never instances. Spin enters here (degrees of
freedom, decay of the Z'); the annihilation channels of each class are listed in
:mod:`lmltdm_jax.observables.annihilation_rows`. Scattering on nuclei through the Z' and the energy
injected by a final state do not depend on the spin at low velocity.
"""

from __future__ import annotations

import abc
import math
from typing import ClassVar

import jax

from lmltdm_jax.numerics.kinematics import beta


def vector_to_dirac(coupling: jax.Array, m: jax.Array, m_f: jax.Array) -> jax.Array:
    """V -> f fbar [GeV]: g^2 m (1 + 2r) sqrt(1-4r)/(12 pi), r = m_f^2/m^2 (tree level)."""
    r = (m_f / m) ** 2
    return coupling**2 * m * (1.0 + 2.0 * r) * beta(r, 1.0) / (12.0 * math.pi)


class DarkMatter(abc.ABC):
    """A particle with an antiparticle in equal number (no asymmetry)."""

    spin_states: ClassVar[int]
    """of the particle; its antiparticle has as many more"""
    statistics: ClassVar[int]
    """1 for bosons, -1 for fermions"""

    @staticmethod
    @abc.abstractmethod
    def zp_width(coupling: jax.Array, m: jax.Array, m_dm: jax.Array) -> jax.Array:
        """Gamma(Z' -> pair) [GeV] for gauge coupling times charge, masses in GeV."""


class ComplexScalar(DarkMatter):
    """X with the Z' only."""

    spin_states: ClassVar[int] = 1
    statistics: ClassVar[int] = 1

    @staticmethod
    def zp_width(coupling: jax.Array, m: jax.Array, m_dm: jax.Array) -> jax.Array:
        """g^2 m (1-4r)^{3/2}/(48 pi), r = m_dm^2/m^2."""
        return coupling**2 * m * beta((m_dm / m) ** 2, 1.0) ** 3 / (48.0 * math.pi)


class PortalScalar(ComplexScalar):
    """X with the Z' and, through lambda_phix, H1 and H2."""


class DiracFermion(DarkMatter):
    """chi with the Z' only, vector coupling."""

    spin_states: ClassVar[int] = 2
    statistics: ClassVar[int] = -1

    @staticmethod
    def zp_width(coupling: jax.Array, m: jax.Array, m_dm: jax.Array) -> jax.Array:
        """:func:`vector_to_dirac`."""
        return vector_to_dirac(coupling, m, m_dm)
