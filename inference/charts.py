"""Charts: coordinates in which the thin relic-density shell is flat, one set for each of its parts.

The shell Omega h2 = 0.12 is 0.7 to 3 % thick, runs over six decades of the coupling, and has walls:
where H1 meets its pole at 2 m_x, where H1 -> Z'Z' opens and takes H1 away from e+ e-, and where X
becomes too light to annihilate to Z'Z'. A chart measures a point along one axis from the place
where the *computed* Omega h2 is 0.12, all other coordinates v of the chart held,

    w_axis = v_axis - s(v_others),   Omega h2(v_others, v_axis = s) = 0.12,

so that the relic density couples the axis to nothing else. This shear has Jacobian one, whatever s
is. v are the prior's unconstrained coordinates t (:mod:`prior`), but for what is said here:

* ``BelowPole``, 2 m_zp < m_h1 < 2 m_x: along lambda_phix. m_x is log10(m_x/m_zp - 1), and m_h1 the
  logarithm of the ratio of its distances from both walls, which puts all walls at infinity.
* ``AbovePole``, m_h1 > 2 m_x, m_zp < 1.25 m_x: along m_h1, with lambda/m_h1 for lambda_phix. More
  coupling makes H1 wider by H1 -> X X*, so that two couplings give the same Omega h2; they meet in
  a fold. With X X* -> H1* -> Z'Z' far above the pole sigma v ~ lambda^2/(m_h1^4 + m_h1^2 Gamma^2),
  and Gamma/m_h1 ~ (lambda/m_h1)^2: at fixed lambda/m_h1 it falls like m_h1^-2 on both branches and
  in the fold. m_h1 is log10(m_h1/(2 m_x) - 1): near the pole Omega h2 changes as fast as the
  distance from it does, so that the shell is as thick there. m_x is log10(1.25 m_x/m_zp - 1).
* ``ZpResonance``, 1.95 m_x < m_zp < 4.5 m_x: along m_x. X X* annihilate through the Z' itself, and
  lambda_phix is free.
* ``Elsewhere``, along lambda_phix, for what is left.

Named approximation: s is the third iterate of a secant search, not the root (how close it is at
draws of ``talk2024`` is tested). Where it is not the root the chart is bent, which costs efficiency
and never changes the posterior. The gradient of s is that of the root, by the theorem of implicit
functions at the point itself: nearly that of the iterate. Hamiltonian trajectories stay reversible
and keep volumes with any force that depends on the position alone, and are accepted by their exact
energies.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.numerics.compiling import top_level_jit
from lmltdm_jax.parameters import Parameters

from .coordinates import Coordinates, estimated_excess, log10_lambda_shell
from .prior import Prior, is_log, soft_box_inverse
from .target import Evaluated, Target, evaluate, in_lanes

_RESONANCE = (1.95, 4.5)
"""m_zp/m_x where the Z' does the annihilation."""
_FORBIDDEN = 1.25
"""Largest m_zp/m_x from which thermal motion still reaches Z'Z'."""
_STEPS = 3
"""Of the secant search."""
_BISECTIONS = 10
"""Of the estimate, where the search starts above the pole."""
_SAME = 1e-6
"""Steps [dex] too small for a difference quotient."""
_FLAT = 0.1
"""Slope of ln Omega h2 [1/dex] that is none."""
_NEAR_POLE = -4.0
"""Least log10(m_h1/(2 m_x) - 1) that is searched."""
_EDGE = 1e-9
"""Least distance [dex] from an end of the prior box."""


class Bracket(NamedTuple):
    """Where a search starts, the slope of ln Omega h2 expected there, and what bounds it [dex]."""

    start: jax.Array
    slope: jax.Array
    low: jax.Array
    high: jax.Array
    step: jax.Array
    """largest"""


class Shape(eqx.Module):
    """What charts read of a prior."""

    prior: Prior

    def index(self, name: str) -> int:
        return self.prior.names.index(name)

    def params(self, t: jax.Array) -> Parameters:
        params, _ = self.prior.physical(self.prior.box_from_unconstrained(t))
        return params.as_dark_higgs()

    def unconstrained(self, name: str, value: jax.Array) -> jax.Array:
        """The t of a parameter with a log prior; far outside where the value is not in the box."""
        low, high = (ends[self.index(name)] for ends in self.prior.box)
        return soft_box_inverse(jnp.clip(jnp.log10(value), low + _EDGE, high - _EDGE), low, high)

    def lightest(self, t: jax.Array, ratio: float) -> jax.Array:
        """t of m_x = m_zp/ratio."""
        return self.unconstrained("m_x", self.params(t).m_zp / ratio)


class Chart(eqx.Module):
    """A part of the space, and how it is straightened."""

    label: eqx.AbstractClassVar[str]
    """what a progress bar calls it"""
    needs: eqx.AbstractClassVar[tuple[str, ...]]
    """parameters that have to be sampled, with a log prior; the first is that of the axis"""

    @abc.abstractmethod
    def within(self, shape: Shape, t: jax.Array) -> jax.Array:
        """Whether a point (dimension,) is in it."""

    @abc.abstractmethod
    def bracket(self, shape: Shape, v: jax.Array) -> Bracket:
        """For a point v (dimension,), whose place along the axis is not read."""

    def opened(self, shape: Shape, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        """v -> t (dimension,), and ln of the Jacobian."""
        return v, jnp.zeros(())

    def closed(self, shape: Shape, t: jax.Array) -> jax.Array:
        """t -> v; any finite v for a point that the chart does not have."""
        return t


class Elsewhere(Chart):
    label: ClassVar[str] = "the rest of the shell"
    needs: ClassVar[tuple[str, ...]] = ("lambda_phix",)

    def within(self, shape: Shape, t: jax.Array) -> jax.Array:
        return jnp.ones((), bool)

    def bracket(self, shape: Shape, v: jax.Array) -> Bracket:
        start = log10_lambda_shell(shape.params(self.opened(shape, v)[0]))
        return _bracket(start, -4.4, start - 1.0, start + 1.0, 0.7)


class BelowPole(Elsewhere):
    label: ClassVar[str] = "the shell below the pole of H1"
    needs: ClassVar[tuple[str, ...]] = ("lambda_phix", "m_h1", "m_x", "m_zp")

    def within(self, shape: Shape, t: jax.Array) -> jax.Array:
        low, high = self._walls(shape, t)
        m_h1 = t[shape.index("m_h1")]
        return (low < m_h1) & (m_h1 < high)

    def opened(self, shape: Shape, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        m_x, m_h1 = shape.index("m_x"), shape.index("m_h1")
        beyond, log_slope = _beyond(v[m_x])
        t = v.at[m_x].set(shape.lightest(v, 1.0) + beyond)
        low, high = self._walls(shape, t)
        u = v[m_h1]
        log_slope += jax.nn.log_sigmoid(u) + jax.nn.log_sigmoid(-u) + jnp.log(high - low)
        return t.at[m_h1].set(low + (high - low) * jax.nn.sigmoid(u)), log_slope

    def closed(self, shape: Shape, t: jax.Array) -> jax.Array:
        m_x, m_h1 = shape.index("m_x"), shape.index("m_h1")
        low, high = self._walls(shape, t)
        above = jnp.maximum(t[m_h1] - low, _EDGE)
        below = jnp.maximum(high - t[m_h1], _EDGE)
        v = t.at[m_h1].set(jnp.log(above) - jnp.log(below))
        return v.at[m_x].set(_not_beyond(t[m_x] - shape.lightest(t, 1.0)))

    def _walls(self, shape: Shape, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """t of m_h1 = 2 m_zp and of 2 m_x; never upside down."""
        p = shape.params(t)
        low, high = (shape.unconstrained("m_h1", 2.0 * m) for m in (p.m_zp, p.m_x))
        return low, jnp.maximum(high, low + _EDGE)


def _beyond(v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """log10(1 + 10^v) >= 0, v itself where it is large; ln of its slope."""
    log = math.log(10.0) * v
    return jax.nn.softplus(log) / math.log(10.0), jax.nn.log_sigmoid(log)


def _not_beyond(beyond: jax.Array) -> jax.Array:
    """Inverse of :func:`_beyond`; that of the least distance where there is none."""
    log = math.log(10.0) * jnp.maximum(beyond, _EDGE)
    return (log + jnp.log(-jnp.expm1(-log))) / math.log(10.0)


class AbovePole(Chart):
    label: ClassVar[str] = "the shell above the pole of H1"
    needs: ClassVar[tuple[str, ...]] = ("m_h1", "lambda_phix", "m_x", "m_zp")

    def within(self, shape: Shape, t: jax.Array) -> jax.Array:
        p = shape.params(t)
        return (p.m_h1 > 2.0 * p.m_x) & (p.m_zp < _FORBIDDEN * p.m_x)

    def opened(self, shape: Shape, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        m_x, m_h1 = shape.index("m_x"), shape.index("m_h1")
        beyond, log_slope = _beyond(v[m_x])
        t = v.at[m_x].set(shape.lightest(v, _FORBIDDEN) + beyond)
        beyond, another = _beyond(v[m_h1])
        t = t.at[m_h1].set(self._pole(shape, t) + beyond)
        return self._coupling_moved(shape, t, 1.0), log_slope + another

    def closed(self, shape: Shape, t: jax.Array) -> jax.Array:
        m_x, m_h1 = shape.index("m_x"), shape.index("m_h1")
        v = self._coupling_moved(shape, t, -1.0)
        v = v.at[m_h1].set(_not_beyond(t[m_h1] - self._pole(shape, t)))
        return v.at[m_x].set(_not_beyond(t[m_x] - shape.lightest(t, _FORBIDDEN)))

    def _pole(self, shape: Shape, t: jax.Array) -> jax.Array:
        """t of m_h1 = 2 m_x."""
        return shape.unconstrained("m_h1", 2.0 * shape.params(t).m_x)

    def _coupling_moved(self, shape: Shape, t: jax.Array, sign: float) -> jax.Array:
        axis = shape.index("lambda_phix")
        return t.at[axis].add(sign * jnp.log10(shape.params(t).m_h1))

    def bracket(self, shape: Shape, v: jax.Array) -> Bracket:
        axis = shape.index("m_h1")
        top = shape.unconstrained("m_h1", jnp.asarray(jnp.inf))
        top = top - self._pole(shape, self.opened(shape, v)[0])
        low, high = _NEAR_POLE, jnp.maximum(_not_beyond(top), _NEAR_POLE)

        def excess(s: jax.Array) -> jax.Array:
            return estimated_excess(shape.params(self.opened(shape, v.at[axis].set(s))[0]))

        def halved(ends: tuple[jax.Array, jax.Array], _: None):
            middle = 0.5 * (ends[0] + ends[1])
            above = excess(middle) > 0.0
            return (jnp.where(above, ends[0], middle), jnp.where(above, middle, ends[1])), None

        (left, right), _ = jax.lax.scan(halved, (jnp.asarray(low), high), length=_BISECTIONS)
        slope = (excess(right) - excess(left)) / jnp.maximum(right - left, _SAME)
        return _bracket(0.5 * (left + right), jnp.clip(slope, 4.0, 50.0), low, high, 0.3)


class ZpResonance(Chart):
    label: ClassVar[str] = "the resonance of the Z'"
    needs: ClassVar[tuple[str, ...]] = ("m_x", "m_zp")

    def within(self, shape: Shape, t: jax.Array) -> jax.Array:
        p = shape.params(t)
        low, high = _RESONANCE
        return (p.m_zp > low * p.m_x) & (p.m_zp < high * p.m_x)

    def bracket(self, shape: Shape, v: jax.Array) -> Bracket:
        start, low, high = (shape.lightest(v, ratio) for ratio in (2.7, 10.0, 2.0))
        return _bracket(start, -58.0, low, high, 0.1)


def _bracket(start, slope, low, high, step) -> Bracket:
    return Bracket(*(jnp.asarray(v, float) for v in (start, slope, low, high, step)))


_CHARTS: tuple[Chart, ...] = (Elsewhere(), BelowPole(), AbovePole(), ZpResonance())


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
        logs = {i.name for i in target.coordinates.prior.parameters if is_log(i)}
        each = [chart for chart in _CHARTS if set(chart.needs) <= logs]
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
        t, log_jacobian = self._opened(number, self._placed(number, w, 1.0))
        return self._coordinates.from_unconstrained(t), log_jacobian, self._number(t)

    def from_y(self, number: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """y (dimension,) -> w of a chart, and ln |dy/dw|."""
        if self.flat:
            return y, jnp.zeros(())
        t = self._coordinates.to_unconstrained(y)
        v = _choose(number, [t if c is None else c.closed(self._shape, t) for c in self.each])
        return self._placed(number, v, -1.0), self._opened(number, v)[1]

    def potential(self, number: jax.Array, w: jax.Array) -> jax.Array:
        """-ln(posterior density in w), with a gradient in reverse mode.

        There the place along the axis follows the other coordinates so that Omega h2 stays what it
        is: ds = -(d ln Omega h2/d others)/(d ln Omega h2/ds), both at the point itself.
        """
        if self.flat:
            return self.target.potential(w)
        v = jax.lax.stop_gradient(self._placed(number, w, 1.0))
        slopes = jax.grad(lambda v: self._plain.shell_excess(self._opened(number, v)[0]))(v)
        axis = self._axis(number)
        own = jnp.sum(jnp.where(axis, slopes, 0.0))
        # Where it vanishes there is no root, the place is that of an end of the search and stays.
        own = own / (own**2 + _FLAT**2)
        moved = w - jax.lax.stop_gradient(w)
        follows = jnp.where(axis, 0.0, -slopes * own) @ moved
        t, log_jacobian = self._opened(number, v + moved + jnp.where(axis, follows, 0.0))
        return self._plain.potential(t) - log_jacobian

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
        names = self._coordinates.prior.names
        axes = [[c is not None and c.needs[0] == name for name in names] for c in self.each]
        return jnp.array(axes)[number]

    def _opened(self, number: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        flat = (v, jnp.zeros(()))
        return _choose(number, [flat if c is None else c.opened(self._shape, v) for c in self.each])

    def _placed(self, number: jax.Array, v: jax.Array, sign: float) -> jax.Array:
        """v with s added along the axis, ``sign`` times; w to v and back."""
        axis = self._axis(number)
        nothing = _bracket(0.0, 1.0, 0.0, 0.0, 0.0)
        brackets = [nothing if c is None else c.bracket(self._shape, v) for c in self.each]

        def excess(s: jax.Array) -> jax.Array:
            return self._plain.shell_excess(self._opened(number, jnp.where(axis, s, v))[0])

        return v + jnp.where(axis, sign * _search(excess, _choose(number, brackets)), 0.0)


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
        apart = jnp.abs(distance) > _SAME
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


def evaluate_in(charts: Charts, number: int | np.ndarray, w: np.ndarray) -> Evaluated:
    """Points w (n, dimension) of charts: ``Evaluated.y`` is w, and the density of
    the prior that in w. Of likelihood zero where they are not in their chart."""
    y, log_jacobian, of = _in_chart(_to_y, charts, number, w)
    found = evaluate(charts.target, y)
    inside = np.where(of == number, found.log_likelihood, -np.inf)
    return Evaluated(w, found.log_prior + log_jacobian, inside)


def _in_chart(program: Callable, charts: Charts, number: int | np.ndarray, points: np.ndarray):
    return in_lanes(program, charts, np.broadcast_to(number, len(points)), points)
