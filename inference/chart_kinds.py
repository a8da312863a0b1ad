"""The parts of the thin relic-density shell, and the coordinates v in which each is straightened.

The shell Omega h2 = 0.12 is 0.7 to 3 % thick, runs over six decades of the coupling, and has walls:
where H1 meets its pole at 2 m_x, where H1 -> Z'Z' opens and takes H1 away from e+ e-, and where X
becomes too light to annihilate to Z'Z'. :mod:`charts` measures a point along one axis of v from the
place where Omega h2 is 0.12. v are the prior's unconstrained coordinates t (:mod:`prior`), but for
what is said here:

* ``BelowPole``, 2 m_zp < m_h1 < 2 m_x: along lambda_phix. Walls are at infinity: close to one,
  log10 m is replaced by the logarithm of the distance from it. m_h1 is measured from 2 m_zp, m_x
  from m_h1/2, in that order: far from the walls both are what they were, and data that want one
  m_h1 are not bent.
* ``AbovePole``, m_h1 > 2 m_x, m_zp < m_x: along m_x, which is measured from the wall m_h1/2 in the
  same way, with lambda/m_h1 for lambda_phix. More coupling makes H1 wider by H1 -> X X*, so that
  two couplings give the same Omega h2, and they meet in a fold; but Omega h2 falls all the way from
  m_x = m_zp, where Z'Z' opens, to the pole. On both branches and in the fold there is one m_x.
* ``Forbidden``, m_x < m_zp < 1.3 m_x: along m_x. Only the thermal tail annihilates to Z'Z', through
  H1 or the gauge coupling: Omega h2 falls like exp(-44 ln m_x), whatever lambda_phix is.
* ``ZpResonance``, 2 m_x < m_zp < 4.5 m_x: along m_x, with the wall m_zp/2 and the end of the prior
  at infinity. X X* annihilate through the Z' itself, and lambda_phix is free.
* ``PastZpResonance``, m_zp < 2 m_x < 1.54 m_zp, where no lambda_phix is sampled: along m_x, with
  the wall m_zp/2 at infinity. X X* annihilate above the pole of the Z', the further from it the
  less.
* ``Elsewhere``, along lambda_phix, for what is left.
"""

from __future__ import annotations

import abc
import math
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.parameters import Parameters

from .coordinates import estimated_excess, log10_lambda_shell
from .prior import (
    Prior,
    soft_box_inside,
    soft_box_inverse,
    soft_box_inverse_inside,
    soft_box_log_slope,
)

_COUPLING_SLOPE = 4.4
"""|d ln Omega h2/d log10 lambda| where sigma v goes as lambda^2; less than 2 ln 10, as freeze-out
moves. Searches start with it."""
SAME = 1e-6
"""Steps [dex] too small for a difference quotient."""
_BISECTIONS = 10
"""Of the estimate, where the search starts above the pole."""
_NEAR_POLE = 4.0
"""-log10 of the least distance of m_x from a pole that is searched [what is close]."""
_NO_TAIL = 1.3
"""m_zp/m_x above which no thermal tail reaches Z'Z'."""
_END = 0.02
"""Least distance [dex] from the lower end of the prior at which the shell of a resonance is looked
for."""
_SMALLEST = -700.0
"""ln of the least distance from a wall, over what is close: e^-746 would be zero."""
_EDGE = 1e-9
"""Least distance [dex] from a wall or an end of the prior box."""


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

    @property
    def names(self) -> tuple[str, ...]:
        """Of the coordinates; the mass of the dark matter is m_x in every model."""
        mass = self.prior.model.dark_matter_mass
        return tuple("m_x" if name == mass else name for name in self.prior.names)

    def index(self, name: str) -> int:
        return self.names.index(name)

    def params(self, t: jax.Array) -> Parameters:
        params, _ = self.prior.physical(self.prior.box_from_unconstrained(t))
        return params.as_dark_higgs()

    def unconstrained(self, name: str, value: jax.Array) -> jax.Array:
        """The t of a parameter with a log prior; far outside where the value is not in the box."""
        low, high = (ends[self.index(name)] for ends in self.prior.box)
        return soft_box_inverse(jnp.clip(jnp.log10(value), low + _EDGE, high - _EDGE), low, high)

    @property
    def least_dark_matter_mass(self) -> jax.Array:
        """t of an m_x just inside the prior.

        Where the theory error is wide there are points above a shell that the end of the prior cuts
        off, which lies at infinity: measured from here, they are no island far away.
        """
        return self.unconstrained("m_x", 10.0 ** (self.prior.box[0][self.index("m_x")] + _END))

    def ends(self, name: str) -> tuple[jax.Array, jax.Array]:
        """Of the prior of a parameter, in its box coordinate."""
        low, high = self.prior.box
        return low[self.index(name)], high[self.index(name)]

    def log10_lightest(self, t: jax.Array, ratio: float) -> jax.Array:
        """log10 of m_x = m_zp/ratio."""
        return jnp.log10(self.params(t).m_zp / ratio)

    def lightest(self, t: jax.Array, ratio: float) -> jax.Array:
        """t of m_x = m_zp/ratio."""
        return self.unconstrained("m_x", self.params(t).m_zp / ratio)

    def pole(self, t: jax.Array) -> jax.Array:
        """t of m_x = m_h1/2."""
        return self.unconstrained("m_x", self.params(t).m_h1 / 2.0)


class Chart(eqx.Module):
    """A part of the space, and how it is straightened."""

    label: eqx.AbstractClassVar[str]
    """what a progress bar calls it"""
    needs: eqx.AbstractClassVar[tuple[str, ...]]
    """parameters that have to be sampled, with a log prior; the first is that of the axis"""
    lacks: ClassVar[tuple[str, ...]] = ()
    """parameters that must not be: along one of them the shell is straight there already"""
    thickens: ClassVar[bool] = False
    """Whether the shell is thicker along the axis where the theory error is larger. Near the pole
    of the Z' it is not: Omega h2 is too steep, walls are too near."""

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
        """t -> v; something finite for a point that is not in the chart."""
        return t


def _above(v: jax.Array, wall: jax.Array, close: float = 1.0) -> tuple[jax.Array, jax.Array]:
    """What is above ``wall`` [dex] whatever v is, and v itself where that is further than ``close``
    above; ln of the slope."""
    distance, log_slope = _distance_above(v, wall, close)
    return wall + distance, log_slope


def _distance_above(v: jax.Array, wall: jax.Array, close: float) -> tuple[jax.Array, jax.Array]:
    """The same as a distance from the wall, which is never zero."""
    scale = math.log(10.0) / close
    log = jnp.maximum(scale * (v - wall), _SMALLEST)
    return jax.nn.softplus(log) / scale, jax.nn.log_sigmoid(log)


def _above_inverse(t: jax.Array, wall: jax.Array, close: float = 1.0) -> jax.Array:
    """Inverse of :func:`_above`; that of the least distance from the wall where there is none."""
    return _at_distance(jnp.maximum(t - wall, _EDGE), wall, close)


def _at_distance(distance: jax.Array, wall: jax.Array, close: float) -> jax.Array:
    """Inverse of :func:`_distance_above`."""
    scale = math.log(10.0) / close
    log = scale * distance
    return wall + (log + jnp.log(-jnp.expm1(-log))) / scale


def _below(v: jax.Array, wall: jax.Array, close: float = 1.0) -> tuple[jax.Array, jax.Array]:
    """The same below a wall."""
    t, log_slope = _above(-v, -wall, close)
    return -t, log_slope


def _below_inverse(t: jax.Array, wall: jax.Array, close: float = 1.0) -> jax.Array:
    return -_above_inverse(-t, -wall, close)


class Elsewhere(Chart):
    label: ClassVar[str] = "the rest of the shell"
    needs: ClassVar[tuple[str, ...]] = ("lambda_phix",)
    thickens: ClassVar[bool] = True

    def within(self, shape: Shape, t: jax.Array) -> jax.Array:
        return jnp.ones((), bool)

    def bracket(self, shape: Shape, v: jax.Array) -> Bracket:
        start = log10_lambda_shell(shape.params(self.opened(shape, v)[0]))
        return bracketed(start, -_COUPLING_SLOPE, start - 1.0, start + 1.0, 0.7)


class BelowPole(Elsewhere):
    label: ClassVar[str] = "the shell below the pole of H1"
    needs: ClassVar[tuple[str, ...]] = ("lambda_phix", "m_h1", "m_x", "m_zp")

    def within(self, shape: Shape, t: jax.Array) -> jax.Array:
        above_zp = t[shape.index("m_h1")] > self._threshold(shape, t)
        return above_zp & (t[shape.index("m_x")] > shape.pole(t))

    def opened(self, shape: Shape, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        m_x, m_h1 = shape.index("m_x"), shape.index("m_h1")
        t_h1, log_slope = _above(v[m_h1], self._threshold(shape, v))
        t = v.at[m_h1].set(t_h1)
        t_x, another = _above(v[m_x], shape.pole(t))
        return t.at[m_x].set(t_x), log_slope + another

    def closed(self, shape: Shape, t: jax.Array) -> jax.Array:
        m_x, m_h1 = shape.index("m_x"), shape.index("m_h1")
        v = t.at[m_x].set(_above_inverse(t[m_x], shape.pole(t)))
        return v.at[m_h1].set(_above_inverse(t[m_h1], self._threshold(shape, t)))

    def _threshold(self, shape: Shape, t: jax.Array) -> jax.Array:
        """t of m_h1 = 2 m_zp."""
        return shape.unconstrained("m_h1", 2.0 * shape.params(t).m_zp)


class AbovePole(Chart):
    label: ClassVar[str] = "the shell above the pole of H1"
    needs: ClassVar[tuple[str, ...]] = ("m_x", "m_h1", "lambda_phix", "m_zp")
    thickens: ClassVar[bool] = True

    def within(self, shape: Shape, t: jax.Array) -> jax.Array:
        m_x = t[shape.index("m_x")]
        return (m_x < shape.pole(t)) & (m_x > shape.lightest(t, 1.0))

    def opened(self, shape: Shape, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        axis = shape.index("m_x")
        t_x, log_slope = _below(v[axis], shape.pole(v))
        return self._coupling_moved(shape, v.at[axis].set(t_x), 1.0), log_slope

    def closed(self, shape: Shape, t: jax.Array) -> jax.Array:
        axis = shape.index("m_x")
        v = t.at[axis].set(_below_inverse(t[axis], shape.pole(t)))
        return self._coupling_moved(shape, v, -1.0)

    def _coupling_moved(self, shape: Shape, t: jax.Array, sign: float) -> jax.Array:
        axis = shape.index("lambda_phix")
        return t.at[axis].add(sign * jnp.log10(shape.params(t).m_h1))

    def bracket(self, shape: Shape, v: jax.Array) -> Bracket:
        axis, wall = shape.index("m_x"), shape.pole(v)
        low = _below_inverse(shape.lightest(v, 1.0), wall)
        high = jnp.maximum(wall + _NEAR_POLE, low)

        def excess(s: jax.Array) -> jax.Array:
            return estimated_excess(shape.params(self.opened(shape, v.at[axis].set(s))[0]))

        def halved(ends: tuple[jax.Array, jax.Array], _: None):
            middle = 0.5 * (ends[0] + ends[1])
            more = excess(middle) > 0.0
            return (jnp.where(more, middle, ends[0]), jnp.where(more, ends[1], middle)), None

        (left, right), _ = jax.lax.scan(halved, (low, high), length=_BISECTIONS)
        slope = (excess(right) - excess(left)) / jnp.maximum(right - left, SAME)
        return bracketed(0.5 * (left + right), jnp.clip(slope, -50.0, -2.0), low, high, 0.3)


class Forbidden(Chart):
    """Slope: -2 x_f ln 10, with freeze-out at m_x/T = x_f = 22."""

    label: ClassVar[str] = "annihilation below the mass of the Z'"
    needs: ClassVar[tuple[str, ...]] = ("m_x", "m_zp")
    thickens: ClassVar[bool] = True

    def within(self, shape: Shape, t: jax.Array) -> jax.Array:
        p = shape.params(t)
        return (p.m_zp > p.m_x) & (p.m_zp < _NO_TAIL * p.m_x)

    def bracket(self, shape: Shape, v: jax.Array) -> Bracket:
        start, low, high = (shape.lightest(v, ratio) for ratio in (1.12, _NO_TAIL, 1.0))
        return bracketed(start, -100.0, low, high, 0.05)


class ZpResonance(Chart):
    """Slope and start: medians of draws of ``talk2024``."""

    label: ClassVar[str] = "the resonance of the Z'"
    needs: ClassVar[tuple[str, ...]] = ("m_x", "m_zp")
    _close: ClassVar[float] = 0.02
    """[dex] Further from its pole the shell is steep and needs no other coordinate."""
    _edge: ClassVar[float] = 0.002
    """[dex] The same for the lower end of the prior. v is log10 m_x there: t stretches it, and a
    search in t did not reach the shell."""

    def within(self, shape: Shape, t: jax.Array) -> jax.Array:
        p = shape.params(t)
        return (t[shape.index("m_x")] < shape.lightest(t, 2.0)) & (p.m_zp < 4.5 * p.m_x)

    def opened(self, shape: Shape, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        axis, (low, high) = shape.index("m_x"), shape.ends("m_x")
        x, log_slope = _below(v[axis], shape.log10_lightest(v, 2.0), self._close)
        inside, another = _distance_above(x, low, self._edge)
        t_x = soft_box_inverse_inside(inside, low, high)
        return v.at[axis].set(t_x), log_slope + another - soft_box_log_slope(t_x, low, high)

    def closed(self, shape: Shape, t: jax.Array) -> jax.Array:
        axis, (low, high) = shape.index("m_x"), shape.ends("m_x")
        x = _at_distance(soft_box_inside(t[axis], low, high), low, self._edge)
        return t.at[axis].set(_below_inverse(x, shape.log10_lightest(t, 2.0), self._close))

    def bracket(self, shape: Shape, v: jax.Array) -> Bracket:
        # Where the theory error is wide there are points above a shell that the end of the prior
        # cuts off: measured from there, they are no island far away.
        least, _ = shape.ends("m_x")
        start, low, wall = (shape.log10_lightest(v, ratio) for ratio in (2.7, 10.0, 2.0))
        start, low = (jnp.maximum(x, least) for x in (start, low))
        return bracketed(start, -58.0, low, wall + _NEAR_POLE * self._close, 0.1)


class PastZpResonance(Chart):
    """Slope and start: medians of draws of the Z'-only fermion in ``talk2024``."""

    label: ClassVar[str] = "the shell past the resonance of the Z'"
    needs: ClassVar[tuple[str, ...]] = ("m_x", "m_zp")
    lacks: ClassVar[tuple[str, ...]] = ("lambda_phix",)
    _close: ClassVar[float] = 0.05
    """[dex] With it ln Omega h2 is nearly linear in v."""

    def within(self, shape: Shape, t: jax.Array) -> jax.Array:
        p = shape.params(t)
        return (t[shape.index("m_x")] > shape.lightest(t, 2.0)) & (p.m_zp > _NO_TAIL * p.m_x)

    def opened(self, shape: Shape, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        axis = shape.index("m_x")
        t_x, log_slope = _above(v[axis], shape.lightest(v, 2.0), self._close)
        return v.at[axis].set(t_x), log_slope

    def closed(self, shape: Shape, t: jax.Array) -> jax.Array:
        axis = shape.index("m_x")
        return t.at[axis].set(_above_inverse(t[axis], shape.lightest(t, 2.0), self._close))

    def bracket(self, shape: Shape, v: jax.Array) -> Bracket:
        wall, end = shape.lightest(v, 2.0), shape.lightest(v, _NO_TAIL)
        high = _above_inverse(end, wall, self._close)
        start = jnp.maximum(wall, shape.least_dark_matter_mass)
        return bracketed(start, 50.0, start - _NEAR_POLE * self._close, high, 0.1)


def bracketed(start, slope, low, high, step) -> Bracket:
    return Bracket(*(jnp.asarray(v, float) for v in (start, slope, low, high, step)))


KINDS: tuple[Chart, ...] = (
    Elsewhere(),
    BelowPole(),
    AbovePole(),
    PastZpResonance(),
    Forbidden(),
    ZpResonance(),
)
