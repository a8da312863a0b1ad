"""Nuisances of a :class:`HistFactory` model: maximised (profile) or integrated out (Laplace).

Statistical nuisances are eliminated in closed form (:func:`best_yield`), which leaves the vector
alpha. Its maximum is found by a bounded number of damped steps whose result is a constant under
differentiation; one more, differentiable, Newton step carries the implicit derivative
d alpha/d theta = -H^{-1} d2f/(d alpha d theta), in forward and reverse mode alike.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmltdm_jax.likelihoods.histfactory import (
    HistFactory,
    Signal,
    best_yield,
    bin_moments,
    poisson_loglike,
)
from lmltdm_jax.numerics.positive_solve import log_determinant, solve_positive

MAX_STEPS = 20
TOLERANCE = 1e-7
"""of ln L, by which the last but one iterate may miss the maximum; the last step squares it."""


class _Local(NamedTuple):
    """f = -ln L (statistical nuisances maximised) near one alpha, and what its Hessian needs."""

    value: jax.Array
    gradient: jax.Array
    gauss_newton: jax.Array
    """Positive-definite part of the Hessian"""
    slopes: jax.Array
    """(normsys, slots, channels) d ln N / d alpha"""
    curvatures: jax.Array
    signal_slopes: jax.Array
    """(histosys, bins) d A / d alpha of the signal"""
    signal_curvatures: jax.Array
    factors: jax.Array
    cells: jax.Array
    tension: jax.Array


def objective(model: HistFactory, signal: Signal, alpha: jax.Array) -> jax.Array:
    """-ln L at given alpha, maximised over every statistical nuisance."""
    mean, variance = bin_moments(model, signal, alpha)
    return _objective(model, mean, variance, alpha)


def _objective(
    model: HistFactory, mean: jax.Array, variance: jax.Array, alpha: jax.Array
) -> jax.Array:
    expected = best_yield(model.observed, mean, variance)
    tension = model.observed / expected - 1.0
    statistical = jnp.sum(tension**2 * variance)
    return -poisson_loglike(model.observed, expected) + 0.5 * (statistical + jnp.sum(alpha**2))


def _local(model: HistFactory, signal: Signal, alpha: jax.Array) -> _Local:
    """Value, exact gradient and Gauss-Newton matrix of :func:`objective`.

    With the cells c = A N of a bin, mean = sum c, variance = sum (stat c)^2, yield n and tension
    t = d/n - 1: df = -t dmean - t^2 dvariance/2 and dt = -kappa (dmean + t dvariance), kappa =
    d/(n^2 + variance d).
    """
    norm, hist = model.split(alpha)
    templates, factors = model.morphed(alpha, signal)
    cells = templates * factors
    stat2 = model.stat**2
    mean, variance = jnp.sum(cells, 0), jnp.sum(stat2 * cells**2, 0)
    n = best_yield(model.observed, mean, variance)
    t = model.observed / n - 1.0
    kappa = model.observed / (n**2 + variance * model.observed)
    up, down, curvature = (x[:, None] for x in model.exponent_slopes(norm))
    rise_slope, fall_slope, half_bend = (x[:, None] for x in model.exponent_slopes(hist))
    signal_slopes = signal.shifts + (rise_slope + fall_slope) * signal.even

    def pulled_back(weight: jax.Array) -> jax.Array:
        """sum over samples of weight dc/dalpha, (alpha, bins)."""
        by_norm = weight * cells
        rise = jnp.einsum("qsr,sr->qr", model.log_up, by_norm)
        fall = jnp.einsum("qsr,sr->qr", model.log_down, by_norm)
        by_shift = weight * factors
        moved = jnp.einsum("psr,sr->pr", model.shifts[:, 1:], by_shift[1:])
        return jnp.concatenate([up * rise + down * fall, moved + signal_slopes * by_shift[0]])

    u = pulled_back(1.0 + 2.0 * t * stat2 * cells)
    group_up, group_down = (x[:, :, model.first_bins] for x in (model.log_up, model.log_down))
    return _Local(
        value=_objective(model, mean, variance, alpha),
        gradient=alpha - jnp.sum(pulled_back(t + t**2 * stat2 * cells), 1),
        gauss_newton=jnp.eye(len(alpha)) + (u * kappa) @ u.T,
        slopes=up[..., None] * group_up + down[..., None] * group_down,
        curvatures=curvature[..., None] * (group_up + group_down),
        signal_slopes=signal_slopes,
        signal_curvatures=2.0 * half_bend * signal.even,
        factors=factors,
        cells=cells,
        tension=t,
    )


def _hessian(model: HistFactory, local: _Local) -> jax.Array:
    """Hessian of :func:`objective`: Gauss-Newton plus the curvature of factors and signal.

    A normsys is the same for all bins of a sample in a channel, so that sums over bins come first.
    """
    q, t = len(local.slopes), local.tension
    bins = model.channel_matrix
    square = t**2 * model.stat**2
    weight = t + square * local.cells
    slopes = local.slopes.reshape(q, -1)
    first = ((weight * local.cells) @ bins).ravel()
    both = first + ((square * local.cells**2) @ bins).ravel()
    norm_norm = (slopes * both) @ slopes.T
    norm_norm += jnp.diag(local.curvatures.reshape(q, -1) @ first)
    by_shift = local.factors * (weight + square * local.cells)
    moved = jnp.einsum("psr,src->psc", model.shifts[:, 1:], by_shift[1:, :, None] * bins)
    own = (local.signal_slopes * by_shift[0]) @ bins
    hist_norm = jnp.concatenate([own[:, None], moved], 1).reshape(len(own), -1) @ slopes.T
    shifts = jnp.concatenate([local.signal_slopes[:, None], model.shifts[:, 1:]], 1)
    shifts = (shifts * local.factors).reshape(len(own), -1)
    hist_hist = (shifts * square.ravel()) @ shifts.T
    hist_hist += jnp.diag(local.signal_curvatures @ (local.factors * weight)[0])
    second = jnp.block([[norm_norm, hist_norm.T], [hist_norm, hist_hist]])
    return local.gauss_newton - second


class Fit(NamedTuple):
    """Nuisances at their best values for one signal; differentiable in the signal."""

    alpha: jax.Array
    loglike: jax.Array
    """Profile ln L, statistical nuisances included, minus its saturated value"""
    log_determinant: jax.Array
    """ln det of the Hessian of -ln L in alpha and all statistical nuisances at the maximum"""
    decrement: jax.Array
    """g^T H^{-1} g/2 before the last step: how far -ln L was from its minimum"""

    @property
    def laplace(self) -> jax.Array:
        """ln of the likelihood integrated over all nuisances with unit-normal priors."""
        return self.loglike - 0.5 * self.log_determinant


class _State(NamedTuple):
    step: jax.Array
    decrement: jax.Array
    alpha: jax.Array
    value: jax.Array
    gradient: jax.Array
    matrix: jax.Array
    damping: jax.Array
    trial: jax.Array


def _improve(model: HistFactory, signal: Signal, state: _State) -> _State:
    """Take the trial point if it is no worse, and propose the next one (Levenberg-Marquardt)."""
    local = _local(model, signal, state.trial)
    better = local.value <= state.value
    new = state.trial, local.value, local.gradient, local.gauss_newton
    old = state.alpha, state.value, state.gradient, state.matrix
    alpha, value, gradient, matrix = (
        jnp.where(better, a, b) for a, b in zip(new, old, strict=True)
    )
    damping = jnp.where(better, 0.1 * state.damping, jnp.maximum(10.0 * state.damping, 1e-2))
    damped = matrix + damping * jnp.diag(jnp.diag(matrix))
    move = solve_positive(damped, gradient).x
    decrement = jnp.where(better, 0.5 * gradient @ move, jnp.inf)
    trial = alpha - move
    return _State(state.step + 1, decrement, alpha, value, gradient, matrix, damping, trial)


def best_alpha(
    model: HistFactory, signal: Signal, start: jax.Array, max_steps: int = MAX_STEPS
) -> tuple[jax.Array, jax.Array]:
    """alpha near the maximum of the likelihood and whether it converged; no derivatives.

    Levenberg-Marquardt with the Gauss-Newton matrix, which is always positive definite, until a
    step promises less than ``TOLERANCE`` in ln L. With the statistical nuisances eliminated one
    minimum was found from every start wherever a signal is within some 10 sigma of the data, so
    there is one start.
    """
    signal = jax.lax.stop_gradient(signal)
    n = len(model.parameters)
    infinite = jnp.asarray(jnp.inf)
    first = _State(
        step=jnp.asarray(0),
        decrement=infinite,
        alpha=jnp.asarray(start, float),
        value=infinite,
        gradient=jnp.zeros(n),
        matrix=jnp.eye(n),
        damping=jnp.zeros(()),
        trial=jnp.asarray(start, float),
    )

    def unfinished(state: _State) -> jax.Array:
        return (state.step < max_steps) & (state.decrement > TOLERANCE)

    last = jax.lax.while_loop(unfinished, lambda state: _improve(model, signal, state), first)
    return jax.lax.stop_gradient((last.alpha, last.decrement <= TOLERANCE))


def fit(model: HistFactory, signal: Signal, start: jax.Array, max_steps: int = MAX_STEPS) -> Fit:
    """Profile over alpha and the statistical nuisances, from ``start``; differentiable.

    The last step is a Newton step with a Hessian that is constant under differentiation; its
    derivative in the signal is that of the exact maximum (implicit function theorem), so that
    first and second derivatives of the profile are right.
    """
    alpha, converged = best_alpha(model, signal, start, max_steps)
    local = _local(model, signal, alpha)
    hessian = _hessian(model, local)
    # At a minimum the Hessian is positive definite; elsewhere only the other one is known to be.
    matrix = jax.lax.stop_gradient(jnp.where(converged, hessian, local.gauss_newton))
    move = jax.lax.custom_linear_solve(
        lambda v: matrix @ v,
        local.gradient,
        lambda _, b: solve_positive(matrix, b).x,
        symmetric=True,
    )
    # Far from the minimum a full step can overshoot.
    alpha = alpha - jnp.where(converged, 1.0, 0.0) * move
    last = _local(model, signal, alpha)
    usable = jnp.where(converged, _hessian(model, last), last.gauss_newton)
    mean, variance = bin_moments(model, signal, alpha)
    n = best_yield(model.observed, mean, variance)
    # det of the joint Hessian = (that of the statistical nuisances) x (that of the profile).
    statistical = jnp.sum(jnp.log1p(variance * model.observed / n**2))
    return Fit(
        alpha=alpha,
        loglike=-_objective(model, mean, variance, alpha),
        log_determinant=log_determinant(usable) + statistical,
        decrement=0.5 * local.gradient @ move,
    )
