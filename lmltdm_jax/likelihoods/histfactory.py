"""A binned likelihood with template morphing (HistFactory, CERN-OPEN-2012-016) in pure JAX.

Yield in bin r: n_r = sum_s A_sr N_sr (1 + stat_sr gamma_sr), with A_sr = nominal_sr
+ sum_p alpha_p shift_psr (histosys), N_sr = prod_q f_qsr(alpha_q) (normsys) and alpha, gamma ~
N(0, 1). The signal's A has sum_p |alpha_p| even_pr, too: up and down need not be opposite there.
ln L = sum_r [observed ln n - n] + constraints, minus the saturated value (n = observed).
Arrays are dense over (sample slot s, bin r) with zeros where a channel has fewer samples: one
expression for all bins. The signal is a pair of arrays given with each call, so that a model's
template can replace the published one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.errors import InputError
from lmltdm_jax.numerics.safe import safe_log

Interpolation = Literal["smooth", "piecewise"]


class Signal(NamedTuple):
    """Expected signal at alpha = 0 and its absolute change with each histosys nuisance."""

    nominal: jax.Array
    """(bins,) events"""
    shifts: jax.Array
    """(histosys, bins) events, times alpha: half of up less down"""
    even: jax.Array
    """(histosys, bins) events, times the modulus of alpha: mean of up and down less nominal"""

    def scaled(self, mu: jax.Array | float) -> Signal:
        """mu times this signal."""
        return Signal(mu * self.nominal, mu * self.shifts, mu * self.even)


class HistFactory(eqx.Module):
    """Arrays of one workspace; build with :meth:`from_workspace`.

    Nuisances alpha are one vector: the normsys first, then the histosys (``parameters`` names
    them). Slot 0 of every channel is its signal.
    """

    channels: tuple[tuple[str, int], ...] = eqx.field(static=True)
    """Name and number of bins, in order."""
    normsys: tuple[str, ...] = eqx.field(static=True)
    histosys: tuple[str, ...] = eqx.field(static=True)
    interpolation: Interpolation = eqx.field(static=True)
    observed: np.ndarray
    """(bins,)"""
    nominal: np.ndarray
    """(slots, bins) expected events, the signal at strength 1 in slot 0"""
    log_up: np.ndarray
    """(normsys, slots, bins) ln f at alpha = 1"""
    log_down: np.ndarray
    shifts: np.ndarray
    """(histosys, slots, bins)"""
    even: np.ndarray
    """(histosys, bins) of the signal; the backgrounds have none"""
    stat: np.ndarray
    """(slots, bins) relative statistical error of the template"""

    @classmethod
    def from_workspace(
        cls,
        workspace: Mapping,
        channels: Sequence[str] | None = None,
        interpolation: Interpolation = "smooth",
    ) -> HistFactory:
        """Arrays from a pyhf JSON workspace; only nuisances that the kept channels have.

        Args:
            workspace: the JSON document; modifiers normsys, histosys, staterror (a name of its own
                for each sample) and one normfactor that marks the signal sample.
            channels: names to keep, all if None.
            interpolation: of normsys, and the modulus in shapes. "piecewise" is up^alpha or
                down^-alpha as pyhf's code1, and code0; "smooth" is twice continuously
                differentiable: alpha (up - down)/2 + h (up + down)/2 in logarithms with h =
                alpha^2 (15 - 10 alpha^2 + 3 alpha^4)/8 for |alpha| < 1, |alpha| beyond.

        Raises:
            InputError: unknown channel, other modifier, or a background's shape with up and down
                not opposite.
        """
        known = [channel["name"] for channel in workspace["channels"]]
        names = list(known if channels is None else channels)
        for name in names:
            if name not in known:
                raise InputError(f"unknown channel '{name}'; known: {', '.join(known)}")
        return _read(workspace, names, interpolation)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the nuisances in the order of the vector alpha."""
        return self.normsys + self.histosys

    def signal(self, mu: jax.Array | float = 1.0) -> Signal:
        """The published signal template times ``mu``."""
        arrays = self.nominal[0], self.shifts[:, 0], self.even
        return Signal(*map(jnp.asarray, arrays)).scaled(mu)

    @property
    def first_bins(self) -> np.ndarray:
        """Index of the first bin of each channel."""
        return np.cumsum([0, *(size for _, size in self.channels)])[:-1]

    @property
    def channel_matrix(self) -> np.ndarray:
        """(bins, channels): 1 where the bin is in the channel."""
        return np.repeat(np.eye(len(self.channels)), [size for _, size in self.channels], axis=0)

    def split(self, alpha: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The vector of nuisances as (normsys, histosys)."""
        return alpha[: len(self.normsys)], alpha[len(self.normsys) :]

    def morphed(self, alpha: jax.Array, signal: Signal) -> tuple[jax.Array, jax.Array]:
        """Additively morphed templates A and log-normal factors N, (slots, bins) each."""
        norm, hist = self.split(alpha)
        background = self.nominal[1:] + jnp.tensordot(hist, self.shifts[:, 1:], 1)
        rise, fall = self._exponents(hist)
        first = signal.nominal + hist @ signal.shifts + (rise + fall) @ signal.even
        up, down = self._exponents(norm)
        factors = jnp.exp(jnp.tensordot(up, self.log_up, 1) + jnp.tensordot(down, self.log_down, 1))
        return jnp.concatenate([first[None], background]), factors

    def cells(self, alpha: jax.Array, signal: Signal) -> jax.Array:
        """Expected events of every sample in every bin at gamma = 0, (slots, bins)."""
        templates, factors = self.morphed(alpha, signal)
        return templates * factors

    def _exponents(self, alpha: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Coefficients of (log_up, log_down) in ln f, as alpha each; their sum is the modulus."""
        if self.interpolation == "piecewise":
            return jnp.maximum(alpha, 0.0), jnp.maximum(-alpha, 0.0)
        even = smooth_modulus(alpha)
        return 0.5 * (even + alpha), 0.5 * (even - alpha)

    def exponent_slopes(self, alpha: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """First derivatives of the two exponents, and the second one, common to both."""
        if self.interpolation == "piecewise":
            up = jnp.where(alpha >= 0.0, 1.0, 0.0)
            return up, up - 1.0, jnp.zeros_like(alpha)
        inside = jnp.clip(alpha, -1.0, 1.0)
        x = inside**2
        slope = inside * (15.0 - 20.0 * x + 9.0 * x**2) / 4.0
        curvature = 15.0 * (1.0 - x) * (1.0 - 3.0 * x) / 4.0
        return 0.5 * (slope + 1.0), 0.5 * (slope - 1.0), 0.5 * curvature


def smooth_modulus(alpha: jax.Array) -> jax.Array:
    """|alpha| with two continuous derivatives: alpha^2 (15 - 10 alpha^2 + 3 alpha^4)/8 inside 1."""
    x = jnp.clip(alpha, -1.0, 1.0) ** 2
    polynomial = x * (15.0 - 10.0 * x + 3.0 * x**2) / 8.0
    return jnp.where(jnp.abs(alpha) < 1.0, polynomial, jnp.abs(alpha))


def poisson_loglike(observed: jax.Array | np.ndarray, expected: jax.Array) -> jax.Array:
    """sum [d ln(n/d) - n + d]: Poisson ln L minus its saturated value; n floored at 1e-300."""
    log_observed = safe_log(observed)
    terms = observed * (safe_log(expected) - log_observed) - (expected - observed)
    return jnp.sum(terms)


def loglike(
    model: HistFactory, signal: Signal, alpha: jax.Array, gamma: jax.Array | None = None
) -> jax.Array:
    """ln L at given nuisances with their unit-normal constraints; gamma (slots, bins) or 0."""
    cells = model.cells(alpha, signal)
    if gamma is None:
        return poisson_loglike(model.observed, jnp.sum(cells, 0)) - 0.5 * jnp.sum(alpha**2)
    expected = jnp.sum(cells * (1.0 + model.stat * gamma), 0)
    used = jnp.where(model.stat > 0.0, gamma, 0.0)
    constraints = -0.5 * jnp.sum(alpha**2) - 0.5 * jnp.sum(used**2)
    return poisson_loglike(model.observed, expected) + constraints


def loglike_per_bin(
    model: HistFactory, signal: Signal, alpha: jax.Array, z: jax.Array
) -> jax.Array:
    """ln L with one statistical nuisance a bin, z (bins,), instead of one a sample and bin.

    The gammas of a bin enter through sum_s c_s gamma_s only, c_s = stat_s cells_s, which is
    sqrt(sum c_s^2) times one unit normal: the posterior of everything else is the same.
    """
    mean, variance = bin_moments(model, signal, alpha)
    expected = mean + jnp.sqrt(variance) * z
    constraints = -0.5 * jnp.sum(alpha**2) - 0.5 * jnp.sum(z**2)
    return poisson_loglike(model.observed, expected) + constraints


def bin_moments(
    model: HistFactory, signal: Signal, alpha: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Expected events of each bin and their statistical variance from the templates, (bins,)."""
    cells = model.cells(alpha, signal)
    return jnp.sum(cells, 0), jnp.sum((model.stat * cells) ** 2, 0)


def best_yield(observed: np.ndarray, mean: jax.Array, variance: jax.Array) -> jax.Array:
    """Yield n that maximises the bin's likelihood over its statistical nuisances.

    Stationarity is (n - mean)/variance = observed/n - 1, a quadratic equation: n = [b
    + sqrt(b^2 + 4 variance observed)]/2, b = mean - variance. Positive for every mean if the bin
    has events.
    """
    b = mean - variance
    root = jnp.sqrt(b**2 + 4.0 * variance * observed + 1e-24)
    # The second form is the same number without cancellation.
    return jnp.where(b > 0.0, 0.5 * (b + root), 2.0 * variance * observed / (root - b))


def _read(workspace: Mapping, names: list[str], interpolation: Interpolation) -> HistFactory:
    channels = {channel["name"]: channel for channel in workspace["channels"]}
    observations = {entry["name"]: entry["data"] for entry in workspace["observations"]}
    sizes = [len(observations[name]) for name in names]
    slots = 1 + max(
        sum(not _is_signal(sample) for sample in channels[name]["samples"]) for name in names
    )
    shape = (slots, sum(sizes))
    nominal, stat = np.zeros(shape), np.zeros(shape)
    up: dict[str, np.ndarray] = {}
    down: dict[str, np.ndarray] = {}
    shifts: dict[str, np.ndarray] = {}
    even: dict[str, np.ndarray] = {}
    start = 0
    for name, size in zip(names, sizes, strict=True):
        bins = slice(start, start + size)
        start += size
        background = 0
        for sample in channels[name]["samples"]:
            background += not _is_signal(sample)
            slot = 0 if _is_signal(sample) else background
            data = np.array(sample["data"], float)
            nominal[slot, bins] = data
            for modifier in sample["modifiers"]:
                key, content = modifier["name"], modifier["data"]
                if modifier["type"] == "normsys":
                    for table, side in ((up, "hi"), (down, "lo")):
                        array = table.setdefault(key, np.zeros(shape))
                        array[slot, bins] = np.log(content[side])
                elif modifier["type"] == "histosys":
                    hi, lo = np.array(content["hi_data"]), np.array(content["lo_data"])
                    shifts.setdefault(key, np.zeros(shape))[slot, bins] = 0.5 * (hi - lo)
                    of_signal = even.setdefault(key, np.zeros(shape[1]))
                    if _is_signal(sample):
                        of_signal[bins] = 0.5 * (hi + lo) - data
                    elif np.any(np.abs(hi + lo - 2.0 * data) > 1e-12 + 1e-9 * data):
                        raise InputError(f"{name}: {key}: up and down of a background not opposite")
                elif modifier["type"] == "staterror":
                    stat[slot, bins] = np.array(content) / np.where(data > 0.0, data, np.inf)
                elif modifier["type"] != "normfactor":
                    raise InputError(f"{name}: no modifier '{modifier['type']}' here")
    return HistFactory(
        channels=tuple(zip(names, sizes, strict=True)),
        normsys=tuple(up),
        histosys=tuple(shifts),
        interpolation=interpolation,
        observed=np.concatenate([np.array(observations[name], float) for name in names]),
        nominal=nominal,
        log_up=np.array([*up.values()]).reshape(-1, *shape),
        log_down=np.array([*down.values()]).reshape(-1, *shape),
        shifts=np.array([*shifts.values()]).reshape(-1, *shape),
        even=np.array([*even.values()]).reshape(-1, shape[1]),
        stat=stat,
    )


def _is_signal(sample: Mapping) -> bool:
    return any(modifier["type"] == "normfactor" for modifier in sample["modifiers"])
