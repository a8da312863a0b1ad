"""Priors, read from the parameter table, and the maps between the spaces a sampler may want.

Four spaces, each with one axis per sampled dimension (parameters first, then nuisances):

* ``u``: the unit cube, in which the prior is flat (what nested samplers ask for);
* ``x``: box coordinates, log10 of a parameter with a log scale, the parameter itself where it is
  linear, the unit normal z of a nuisance;
* ``t``: unconstrained, the box opened to the real line by :func:`soft_box`;
* physical: the parameters of a model and a dictionary of nuisances, as likelihoods take them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jax.scipy.stats import norm

from lmltdm_jax.errors import InputError
from lmltdm_jax.likelihoods.total import Likelihood
from lmltdm_jax.parameters import ParameterInfo, Parameters, ParameterSet, find_parameter

SHARPNESS = 20.0
"""Widths of the box per e-fold of :func:`soft_box` outside it."""

Range = tuple[float, float]


def soft_box(t: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """The real line mapped into (low, high): the identity inside, but for a twentieth at each end.

    A logistic map would bend every direction of the posterior; this one leaves straight what lies
    inside. The density of a flat prior falls like exp(-distance) outside the box.
    """
    return low + soft_box_inside(t, low, high)


def soft_box_inside(t: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """``soft_box(t, low, high) - low``, exact close to ``low``, too."""
    k = SHARPNESS / (high - low)
    return (jax.nn.softplus(k * (t - low)) - jax.nn.softplus(k * (t - high))) / k


def soft_box_inverse_inside(inside: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Inverse of :func:`soft_box_inside`."""
    k = SHARPNESS / (high - low)
    from_low = k * inside
    return low + (from_low + _log1mexp(from_low) - _log1mexp(SHARPNESS - from_low)) / k


def soft_box_inverse(x: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """The t with ``soft_box(t, low, high) == x``; infinite at the ends of the box."""
    k = SHARPNESS / (high - low)
    from_low, from_high = k * (x - low), k * (high - x)
    # ln(e^a - 1) = a + ln(1 - e^-a): no overflow, whatever the range.
    return low + (from_low + _log1mexp(from_low) - _log1mexp(from_high)) / k


def soft_box_log_slope(t: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """ln dx/dt of :func:`soft_box`, without cancellation in either tail."""
    k = SHARPNESS / (high - low)
    # sigma(a) - sigma(b) = sigma(a) sigma(-b) (1 - e^(b - a)), and a - b = SHARPNESS.
    a, b = k * (t - low), k * (t - high)
    return jax.nn.log_sigmoid(a) + jax.nn.log_sigmoid(-b) + math.log1p(-math.exp(-SHARPNESS))


def _log1mexp(a: jax.Array) -> jax.Array:
    return jnp.log(-jnp.expm1(-a))


class Prior(eqx.Module):
    """Independent priors: flat in the box of the table, unit normal for nuisances.

    ``names`` are the sampled parameters then the nuisances; ``fixed`` are the parameters held.
    """

    model: type[ParameterSet] = eqx.field(static=True)

    parameters: tuple[ParameterInfo, ...] = eqx.field(static=True)
    ranges: tuple[Range, ...] = eqx.field(static=True)
    fixed: tuple[tuple[str, float], ...] = eqx.field(static=True)
    nuisances: tuple[str, ...] = eqx.field(static=True, default=())

    @classmethod
    def from_table(
        cls,
        nuisances: tuple[str, ...] = (),
        ranges: Mapping[str, Range] | None = None,
        fixed: Mapping[str, float] | None = None,
        model: type[ParameterSet] = Parameters,
    ) -> Prior:
        """Priors of a model's table, with ranges replaced or parameters held at a value.

        Args:
            nuisances: names that get a unit normal, ``likelihood.nuisance_names``.
            ranges: ``{name: (low, high)}`` in physical units; frees a parameter the table holds.
            fixed: ``{name: value}``: held there, not sampled.
            model: whose parameters.

        Raises:
            InputError: unknown name, a range upside down, outside the physical domain, or not
                positive on a log scale; a name both fixed and given a range; nothing to sample.
        """
        ranges, fixed = dict(ranges or {}), dict(fixed or {})
        for name in (*ranges, *fixed):
            find_parameter(model.table, name)
        for name in ranges.keys() & fixed.keys():
            raise InputError(f"'{name}' is both fixed and given a prior range")
        free = [i for i in model.table if i.name in ranges or i.scale != "fixed"]
        free = [i for i in free if i.name not in fixed]
        if not free:
            raise InputError("every parameter is fixed: there is nothing to sample")
        held = {i.name: float(fixed.get(i.name, i.prior[0])) for i in model.table}
        for info in free:
            del held[info.name]
        for name, value in held.items():
            _check_value(find_parameter(model.table, name), value)
        return cls(
            model=model,
            parameters=tuple(free),
            ranges=tuple(_checked_range(i, ranges.get(i.name, i.prior)) for i in free),
            fixed=tuple(held.items()),
            nuisances=tuple(nuisances),
        )

    @classmethod
    def for_likelihood(cls, likelihood: Likelihood, **overrides) -> Prior:
        """:meth:`from_table` with the likelihood's nuisances."""
        return cls.from_table(likelihood.nuisance_names, **overrides)

    @property
    def names(self) -> tuple[str, ...]:
        return (*(info.name for info in self.parameters), *self.nuisances)

    @property
    def labels(self) -> tuple[str, ...]:
        """LaTeX (in dollars) of the box coordinates, with log10 and units."""
        sampled = tuple(axis_label(info) for info in self.parameters)
        return (*sampled, *(_nuisance_label(name) for name in self.nuisances))

    @property
    def dimension(self) -> int:
        return len(self.names)

    @property
    def is_log(self) -> np.ndarray:
        """(dimension,) bool: box coordinate is log10 of the physical value."""
        flags = [is_log(info) for info in self.parameters]
        return np.array(flags + [False] * len(self.nuisances))

    @property
    def masses(self) -> list[int]:
        """Where masses with a logarithmic prior are among the coordinates."""
        return [i for i, info in enumerate(self.parameters) if info.unit == "GeV" and is_log(info)]

    @property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the box coordinates of the parameters, two arrays (len(parameters),)."""
        ends = np.array(self.ranges)
        log = np.array([is_log(info) for info in self.parameters])
        return tuple(np.where(log, np.log10(np.where(log, e, 1.0)), e) for e in ends.T)

    @property
    def widths(self) -> np.ndarray:
        """(dimension,): width of the box of a parameter, six standard deviations of a nuisance."""
        low, high = self.box
        return np.concatenate([high - low, np.full(len(self.nuisances), 6.0)])

    def box_from_unit(self, u: jax.Array) -> jax.Array:
        """u -> x, last axis the dimensions."""
        low, high = self.box
        n = len(low)
        return jnp.concatenate([low + (high - low) * u[..., :n], ndtri(u[..., n:])], axis=-1)

    def unit_from_box(self, x: jax.Array) -> jax.Array:
        """x -> u."""
        low, high = self.box
        n = len(low)
        return jnp.concatenate([(x[..., :n] - low) / (high - low), ndtr(x[..., n:])], axis=-1)

    def box_from_unconstrained(self, t: jax.Array) -> jax.Array:
        """t -> x."""
        n = len(self.parameters)
        return jnp.concatenate([soft_box(t[..., :n], *self.box), t[..., n:]], axis=-1)

    def unconstrained_from_box(self, x: jax.Array) -> jax.Array:
        """x -> t; infinite on the boundary of the box."""
        n = len(self.parameters)
        return jnp.concatenate([soft_box_inverse(x[..., :n], *self.box), x[..., n:]], axis=-1)

    def log_density(self, t: jax.Array) -> jax.Array:
        """Normalised ln prior density with respect to ``t``, shape of ``t`` less its last axis."""
        n = len(self.parameters)
        low, high = self.box
        flat = soft_box_log_slope(t[..., :n], low, high) - np.log(high - low)
        return flat.sum(axis=-1) + norm.logpdf(t[..., n:]).sum(axis=-1)

    def physical(self, x: jax.Array) -> tuple[ParameterSet, dict[str, jax.Array]]:
        """x (one point, or a batch along leading axes) -> parameters and nuisances."""
        values = dict(self.fixed)
        for i, info in enumerate(self.parameters):
            values[info.name] = 10.0 ** x[..., i] if is_log(info) else x[..., i]
        n = len(self.parameters)
        nuisances = {name: x[..., n + i] for i, name in enumerate(self.nuisances)}
        return self.model(**values), nuisances

    def box_from_physical(
        self, params: ParameterSet, nuisances: Mapping[str, jax.Array] | None = None
    ) -> jax.Array:
        """Inverse of :meth:`physical` for the sampled dimensions; nuisances default to 0."""
        columns = []
        for info in self.parameters:
            value = jnp.asarray(getattr(params, info.name), float)
            columns.append(jnp.log10(value) if is_log(info) else value)
        given = nuisances or {}
        columns += [jnp.asarray(given.get(name, 0.0), float) for name in self.nuisances]
        return jnp.stack(jnp.broadcast_arrays(*columns), axis=-1)

    def prior_transform(self, u: np.ndarray) -> np.ndarray:
        """Unit cube -> physical values in the order of ``names`` (dynesty, ultranest)."""
        x = np.asarray(self.box_from_unit(jnp.asarray(u, float)))
        return np.where(self.is_log, 10.0 ** np.where(self.is_log, x, 0.0), x)


def is_log(info: ParameterInfo) -> bool:
    """Whether the box coordinate is a logarithm (a parameter freed from "fixed" is linear)."""
    return info.scale == "log"


def axis_label(info: ParameterInfo) -> str:
    unit = rf"\ [\mathrm{{{info.unit}}}]" if info.unit else ""
    name = rf"\log_{{10}}\,{info.latex}" if is_log(info) else info.latex
    return f"${name}{unit}$"


def _nuisance_label(name: str) -> str:
    words = name.replace("_", r"\ ")
    return rf"$z(\mathrm{{{words}}})$"


def _check_value(info: ParameterInfo, value: float) -> None:
    if not info.contains(value):
        raise InputError(f"{info.name} fixed at {value:g} is outside its range ({info.allowed})")


def _checked_range(info: ParameterInfo, given: Range) -> Range:
    try:
        low, high = (float(end) for end in given)
    except (TypeError, ValueError):
        raise InputError(f"prior range of {info.name}: {given!r} is not two numbers") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"prior range of {info.name}: needs low < high, got {low:g} to {high:g}")
    if not (info.contains(low) and info.contains(high)):
        raise InputError(
            f"prior range of {info.name}: {low:g} to {high:g} leaves the domain ({info.allowed})"
        )
    if is_log(info) and low <= 0.0:
        raise InputError(f"prior range of {info.name}: flat in log10, so {low:g} must be positive")
    return low, high
