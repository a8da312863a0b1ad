"""Charts: coordinates in which the thin relic-density shell is flat, one set for each of its parts.

A chart (its kinds: :mod:`chart_kinds`) measures a point along one axis from the place where the
*computed* Omega h2 is 0.12, all other coordinates v of the chart held,

    w_axis = [v_axis - s(v_others)]/k(v_others),   Omega h2(v_others, v_axis = s) = 0.12,

so that the relic density couples the axis to nothing else. k is how many times thicker the shell is
there than elsewhere (1 in ``talk2024``; in ``current`` the theory error near the pole of H1 makes
it a hundred), or 1 in charts where it does not become thicker. Whatever s is, the Jacobian is k.

Named approximation: s is the third iterate of a secant search, not the root (how close it is at
draws of ``talk2024`` is tested). Where it is not the root the chart is bent, which costs efficiency
and never changes the posterior. The gradient of s is that of the root, by the theorem of implicit
functions at the point itself: nearly that of the iterate; that of k is left out. Hamiltonian
trajectories stay reversible and keep volumes with any force that depends on the position alone, and
are accepted by their exact energies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.numerics.compiling import top_level_jit

from .chart_kinds import KINDS, SAME, Bracket, Chart, Elsewhere, Shape, bracketed
from .coordinates import Coordinates
from .lanes import in_lanes
from .prior import is_log
from .target import Evaluated, Target, evaluate

_STEPS = 3
"""Of the secant search."""
_FLAT = 0.1
"""Slope of ln Omega h2 [1/dex] that is none."""


class Charts(eqx.Module):
    """All charts of a target; a point is in the last one that has it.

    Numbers are those of ``each``; 0 is a flat one if nothing else has all points. One search serves
    all charts: programs hold (and compile) the relic density once, and numbers may differ from
    point to point.
    """

    target: Target
    """whose points are y"""
    each: tuple[Chart | None, ...]
    """None: flat, w is t"""

    @classmethod
    def of(cls, target: Target) -> Charts:
        """Those whose parameters are sampled; none without a relic density in the likelihood."""
        if not target.has_shell:
            return cls(target, (None,))
        prior = target.coordinates.prior
        names = zip(Shape(prior).names, prior.parameters, strict=False)
        logs = {name for name, info in names if is_log(info)}
        each = [
            chart for chart in KINDS if set(chart.needs) <= logs and not set(chart.lacks) & logs
        ]
        flat = [] if each and isinstance(each[0], Elsewhere) else [None]
        return cls(target, (*flat, *each))

    @property
    def flat(self) -> bool:
        """Whether there is nothing to straighten."""
        return self.each == (None,)

    def label(self, number: int) -> str:
        chart = self.each[number]
        return "the posterior" if chart is None else chart.label

    def axis(self, number: int) -> int | None:
        """Along which a chart is straightened; None for a flat one."""
        chart = self.each[number]
        return None if chart is None else self._shape.index(chart.needs[0])

    def number(self, y: jax.Array) -> jax.Array:
        """Of the chart of a point (dimension,)."""
        return (
            jnp.zeros((), int) if self.flat else self._number(self._coordinates.to_unconstrained(y))
        )

    def to_y(self, number: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """w (dimension,) of a chart -> y, ln |dy/dw|, and the number of the chart that has y."""
        if self.flat:
            return w, jnp.zeros(()), jnp.zeros((), int)
        v, log_stretch = self._placed(number, w)
        t, log_jacobian = self._opened(number, v)
        return self._coordinates.from_unconstrained(t), log_jacobian + log_stretch, self._number(t)

    def from_y(self, number: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """y (dimension,), a point of a chart, -> its w there, and ln |dy/dw|; of another chart's
        point something finite."""
        if self.flat:
            return y, jnp.zeros(())
        v = self._closed(number, self._coordinates.to_unconstrained(y))
        s, log_stretch = self._shell(number, v)
        w = jnp.where(self._axis(number), (v - s) * jnp.exp(-log_stretch), v)
        return w, self._opened(number, v)[1] + log_stretch

    def onto_shell(self, number: jax.Array, y: jax.Array) -> jax.Array:
        """y (dimension,) moved along the axis of a chart to where Omega h2 is 0.12; as it is if
        there is none."""
        if self.flat:
            return y
        v = self._closed(number, self._coordinates.to_unconstrained(y))
        return self.to_y(number, jnp.where(self._axis(number), 0.0, v))[0]

    def potential(self, number: jax.Array, w: jax.Array) -> jax.Array:
        """-ln(posterior density in w), with a gradient in reverse mode.

        There the place along the axis follows the other coordinates so that Omega h2 stays what it
        is: ds = -(d ln Omega h2/d others)/(d ln Omega h2/ds), both at the point itself.
        """
        if self.flat:
            return self.target.potential(w)
        v, log_stretch = jax.lax.stop_gradient(self._placed(number, w))
        slopes = jax.grad(lambda v: self._plain.shell_excess(self._opened(number, v)[0]))(v)
        axis = self._axis(number)
        own = jnp.sum(jnp.where(axis, slopes, 0.0))
        # Where it vanishes there is no root, the place is that of an end of the search and stays.
        own = own / (own**2 + _FLAT**2)
        moved = w - jax.lax.stop_gradient(w)
        follows = jnp.where(axis, 0.0, -slopes * own) @ moved
        change = jnp.where(axis, follows + jnp.exp(log_stretch) * moved, moved)
        t, log_jacobian = self._opened(number, v + change)
        return self._plain.potential(t) - log_jacobian - log_stretch

    @property
    def _coordinates(self) -> Coordinates:
        return self.target.coordinates

    @property
    def _plain(self) -> Target:
        """The target in unconstrained coordinates."""
        plain = Coordinates(self._coordinates.prior, adapted=False)
        return dataclasses.replace(self.target, coordinates=plain)

    @property
    def _shape(self) -> Shape:
        return Shape(self._coordinates.prior)

    def _number(self, t: jax.Array) -> jax.Array:
        found = jnp.zeros((), int)
        for number, chart in enumerate(self.each):
            if chart is not None:
                found = jnp.where(chart.within(self._shape, t), number, found)
        return found

    def _axis(self, number: jax.Array) -> jax.Array:
        """(dimension,) bool: the axis of a chart; none of a flat one."""
        names = self._shape.names
        axes = [[c is not None and c.needs[0] == name for name in names] for c in self.each]
        return jnp.array(axes)[number]

    def _opened(self, number: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        flat = (v, jnp.zeros(()))
        return _choose(number, [flat if c is None else c.opened(self._shape, v) for c in self.each])

    def _closed(self, number: jax.Array, t: jax.Array) -> jax.Array:
        return _choose(number, [t if c is None else c.closed(self._shape, t) for c in self.each])

    def _placed(self, number: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        """w to v, and ln of the Jacobian."""
        s, log_stretch = self._shell(number, w)
        v = jnp.where(self._axis(number), s + jnp.exp(log_stretch) * w, w)
        return v, log_stretch

    def _shell(self, number: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        """s and ln k for a point whose place along the axis is not read; zeros in a flat chart."""
        axis = self._axis(number)
        nothing = bracketed(0.0, 1.0, 0.0, 0.0, 0.0)
        brackets = [nothing if c is None else c.bracket(self._shape, v) for c in self.each]

        def excess(s: jax.Array) -> jax.Array:
            return self._plain.shell_excess(self._opened(number, jnp.where(axis, s, v))[0])

        s = _search(excess, _choose(number, brackets))
        at_s = self._opened(number, jnp.where(axis, s, v))[0]
        thickens = jnp.array([c is not None and c.thickens for c in self.each])[number]
        log_stretch = jnp.where(thickens, self._plain.log_stretch(at_s), 0.0)
        return jnp.where(jnp.any(axis), s, 0.0), log_stretch


def _choose(number: jax.Array, of_charts: Sequence):
    return jax.tree.map(lambda *v: jnp.stack(v)[number], *of_charts)


class _Search(NamedTuple):
    s: jax.Array
    before: jax.Array
    value_before: jax.Array
    slope: jax.Array


def _search(excess: Callable[[jax.Array], jax.Array], bracket: Bracket) -> jax.Array:
    """Secant search for the root of ``excess`` between the ends of ``bracket``.

    The slope keeps the sign of ``bracket.slope`` and stays within a factor of four of its size
    (below, where it would throw the search far away; above, as in the quartic of the coupling).
    """
    sign, size = jnp.sign(bracket.slope), jnp.abs(bracket.slope)

    def moved(state: _Search, _: None) -> tuple[_Search, None]:
        value = excess(state.s)
        distance = state.s - state.before
        apart = jnp.abs(distance) > SAME
        quotient = sign * (value - state.value_before) / jnp.where(apart, distance, 1.0)
        slope = sign * jnp.clip(quotient, size / 4.0, size * 4.0)
        slope = jnp.where(apart, slope, state.slope)
        s = state.s - jnp.clip(value / slope, -bracket.step, bracket.step)
        return _Search(jnp.clip(s, bracket.low, bracket.high), state.s, value, slope), None

    start = jnp.clip(bracket.start, bracket.low, bracket.high)
    first = _Search(start, start, jnp.zeros(()), bracket.slope)
    state, _ = jax.lax.scan(moved, first, length=_STEPS)
    return state.s


@top_level_jit
def _numbers(charts: Charts, y: jax.Array) -> jax.Array:
    return jax.vmap(charts.number)(y)


@top_level_jit
def _to_y(charts: Charts, number: jax.Array, w: jax.Array) -> tuple[jax.Array, ...]:
    return jax.vmap(charts.to_y)(number, w)


@top_level_jit
def _from_y(charts: Charts, number: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(charts.from_y)(number, y)


@top_level_jit
def _onto_shell(charts: Charts, number: jax.Array, y: jax.Array) -> jax.Array:
    return jax.vmap(charts.onto_shell)(number, y)


def numbers(charts: Charts, y: np.ndarray) -> np.ndarray:
    """Of the charts of points (n, dimension); (n,)."""
    return in_lanes(_numbers, charts, y)


def to_y(charts: Charts, number: int | np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w (n, dimension) of one chart, or of those of numbers (n,), -> y, and ln |dy/dw| (n,)."""
    return _in_chart(_to_y, charts, number, w)[:2]


def from_y(
    charts: Charts, number: int | np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """y (n, dimension) -> w of one chart, or of those of numbers (n,), and ln |dy/dw| (n,)."""
    return _in_chart(_from_y, charts, number, y)


def onto_shell(charts: Charts, number: int | np.ndarray, y: np.ndarray) -> np.ndarray:
    """:meth:`Charts.onto_shell` (n, dimension) of points y, by the charts of numbers (n,)."""
    return _in_chart(_onto_shell, charts, number, y)


def compile_charts(charts: Charts, y: np.ndarray) -> None:
    """Compile :func:`numbers`, :func:`to_y` and :func:`from_y` for many points, as ``y`` are."""
    w, _ = from_y(charts, numbers(charts, y), y)
    to_y(charts, 0, w)


def evaluate_in(charts: Charts, number: int | np.ndarray, w: np.ndarray) -> Evaluated:
    """Points w (n, dimension) of charts: ``Evaluated.y`` is w, and the density of
    the prior that in w. Of likelihood zero where they are not in their chart."""
    y, log_jacobian, of = _in_chart(_to_y, charts, number, w)
    found = evaluate(charts.target, y)
    inside = np.where(of == number, found.log_likelihood, -np.inf)
    return Evaluated(w, found.log_prior + log_jacobian, inside)


def _in_chart(program: Callable, charts: Charts, number: int | np.ndarray, points: np.ndarray):
    return in_lanes(program, charts, np.broadcast_to(number, len(points)), points)
