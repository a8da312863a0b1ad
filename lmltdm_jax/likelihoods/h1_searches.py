"""Searches for H1 beside those of missing mass: LEP's Z* -> Z H1, and H1 -> mu mu at LHCb.

:mod:`.meson_to_h1` has the H1 that leaves a peak of missing mass.
"""

from __future__ import annotations

import math
from importlib import resources
from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.constants import HBAR_GEV_S
from lmltdm_jax.likelihoods.base import Context, Term, limit_quantile
from lmltdm_jax.likelihoods.limit_curve import (
    LimitCurve,
    LimitCurveTerm,
    curve_entry,
    curve_provenance,
    fade,
    fade_length,
    pieces,
    read_rows,
)
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.numerics.fence import fence
from lmltdm_jax.numerics.interpolate import GridSpline
from lmltdm_jax.numerics.safe import safe_divide
from lmltdm_jax.observables.h1_escape import line_share

_FOLDER = resources.files("lmltdm_jax.data") / "limit_curves"
_PS = 1e-12
"""in seconds"""


class LepH1Invisible(LimitCurveTerm):
    """Limit on sin^2(theta) BR(H1 -> invisible) from e+ e- -> Z H1 as a curve in m_h1.

    Times the share of the line within ``mass_window``: the recoil mass of a broad H1 is no peak,
    but the limit is nearly flat up to 20 GeV and LEP's resolution is a few GeV.
    """

    mass_window: float = eqx.field(static=True)

    @classmethod
    def load(cls, name: str) -> Self:
        """The term of a shipped curve, with its name."""
        curve = LimitCurve.load(name)
        window = curve_entry(name)["mass_window"]
        return cls(measurement=curve.measurement, curve=curve, name=name, mass_window=window)

    def rate(self, context: Context) -> jax.Array:
        peak = line_share(context.widths.h1.total, self.mass_window)
        return context.point.sin_theta**2 * context.observables.br_h1_inv * peak


class LifetimeLimit(eqx.Module):
    """A stretch in mass of a limit that depends on mass and lifetime: ln limit on an even grid."""

    grid: GridSpline
    masses: tuple[float, float] = eqx.field(static=True)
    """ends of the stretch [GeV]"""
    lifetimes: tuple[float, float] = eqx.field(static=True)
    """ends of the table in ln(lifetime/ps)"""

    def limit(self, mass: jax.Array, log_lifetime: jax.Array) -> jax.Array:
        """The limit; a shorter lifetime than the shortest one counts as that.

        Beyond the longest the share of decays in the detector falls as 1/lifetime.
        """
        inside = jnp.clip(log_lifetime, *self.lifetimes)
        beyond = jnp.maximum(log_lifetime - self.lifetimes[1], 0.0)
        return jnp.exp(self.grid(jnp.clip(mass, *self.masses), inside)[..., 0] + beyond)

    def weight(self, mass: jax.Array) -> jax.Array:
        """1 in the stretch and 0 outside, two continuous derivatives."""
        low, high = map(math.log, self.masses)
        return fade(jnp.log(mass), low, high, fade_length(low, high))


class H1ToMuMu(Term):
    """Limit on BR(B -> K H1) BR(H1 -> mu mu) as a table in m_h1 and the lifetime of H1.

    ln L = -(z r)^2/2, r = BR BR/limit times the share of the line within ``mass_window``, as any
    :class:`LimitCurveTerm`. Masses that the search leaves out at some lifetime (resonances of
    mu mu) are gaps at all. Resolved decays alone: an H1 broader than the window is not searched.
    """

    measurement: Measurement
    stretches: tuple[LifetimeLimit, ...]
    name: str = eqx.field(static=True)
    observable: str = eqx.field(static=True)
    """BR of the decay of B: a field of ``Observables``"""
    mass_window: float = eqx.field(static=True)

    @classmethod
    def load(cls, name: str) -> Self:
        """The term of a shipped table (mass, limit at each lifetime), with its name."""
        entry = curve_entry(name)
        rows = read_rows(_FOLDER / f"{name}.csv")
        shortest, longest = (math.log(value) for value in entry["lifetimes_ps"])
        axis = np.linspace(shortest, longest, rows.shape[1] - 1)
        stretches = []
        for piece in pieces(rows):
            mass, limits = rows[piece, 0], rows[piece, 1:]
            grid = GridSpline.fit([mass, axis], np.log(limits)[..., None])
            ends = float(mass[0]), float(mass[-1])
            stretches.append(LifetimeLimit(grid, ends, (shortest, longest)))
        return cls(
            measurement=Measurement(
                **curve_provenance(name, entry), unit="of the limit", limit=1.0
            ),
            stretches=tuple(stretches),
            name=name,
            observable=entry["observable"],
            mass_window=entry["mass_window"],
        )

    def prediction(self, context: Context) -> jax.Array:
        h1 = context.widths.h1
        mass = jnp.asarray(context.point.params.m_h1, float)
        share = safe_divide(h1.mumu, h1.total) * line_share(h1.total, self.mass_window)
        rate = getattr(context.observables, self.observable) * share
        log_lifetime = math.log(HBAR_GEV_S / _PS) - jnp.log(jnp.maximum(h1.total, 1e-100))
        mass, rate, log_lifetime = fence((mass, rate, log_lifetime))
        return sum(
            (s.weight(mass) * rate / s.limit(mass, log_lifetime) for s in self.stretches),
            jnp.zeros(()),
        )

    def pull(self, context: Context) -> jax.Array:
        return self.prediction(context) * limit_quantile(self.measurement.confidence_level)

    def loglike(self, context: Context) -> jax.Array:
        return -0.5 * self.pull(context) ** 2
