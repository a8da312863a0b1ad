"""Upper limits that depend on a mass: a curve from a table, smooth, and its likelihood term.

A curve is two files, ``NAME.toml`` and ``NAME.csv`` (mass [GeV], limit; an empty limit is a gap).
The shipped ones are in ``data/limit_curves``. Your own needs three lines of TOML::

    mass = "m_zp"             # the parameter on the horizontal axis
    observable = "g_x"        # what is limited: an observable or a parameter
    confidence_level = 0.90

and ``likelihood.with_terms(LimitCurveTerm.read("my_curve.toml"))``. Optional keys: ``power`` (2 if
the number of events goes as g_x^2), ``open_below`` (the search has no lower end in mass),
``points_per_knot`` (average so many points of a ragged table), ``edge``, and the provenance.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import tomllib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.errors import InputError
from lmltdm_jax.likelihoods.base import Context, Term, limit_quantile
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.numerics.interpolate import Spline
from lmltdm_jax.observables.compute import Observables
from lmltdm_jax.parameters import PARAMETER_NAMES

_FOLDER = resources.files("lmltdm_jax.data") / "limit_curves"
_EDGE = 0.03
"""Relative width in mass over which a limit fades at the ends of its range."""


class Segment(eqx.Module):
    """A stretch of a curve without gap: natural cubic spline of ln limit in ln mass."""

    spline: Spline
    low: float = eqx.field(static=True)
    """ln of the smallest mass; -inf where the search has no lower end"""
    high: float = eqx.field(static=True)
    edge: float = eqx.field(static=True)
    """length in ln mass of the fade, inside the range"""

    @classmethod
    def fit(
        cls, mass: np.ndarray, limit: np.ndarray, points_per_knot: int, edge: float, opened: bool
    ) -> Segment:
        """Spline through the means of ``points_per_knot`` neighbours and both end points."""
        x, y = np.log(mass), np.log(limit)
        low, high = float(x[0]), float(x[-1])
        spline = Spline.fit(*group_means(x, y, points_per_knot))
        return cls(spline, -math.inf if opened else low, high, fade_length(low, high, edge))

    def limit(self, log_mass: jax.Array) -> jax.Array:
        """The limit; outside the range that at its end."""
        knots = self.spline.knots
        return jnp.exp(self.spline(jnp.clip(log_mass, knots[0], knots[-1])))

    def weight(self, log_mass: jax.Array) -> jax.Array:
        """1 in the range and 0 outside, two continuous derivatives."""
        return fade(log_mass, self.low, self.high, self.edge)


def group_means(x: np.ndarray, y: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of ``size`` neighbouring points, and the ends of the range; all points for size 1."""
    if size == 1:
        return x, y
    groups = max(2, len(x) // size)
    x_mean, y_mean = (np.array([p.mean() for p in np.array_split(v, groups)]) for v in (x, y))
    # No extrapolation from the outermost means to the ends.
    return np.array([x[0], *x_mean, x[-1]]), np.array([y_mean[0], *y_mean, y_mean[-1]])


def fade_length(low: float, high: float, edge: float = _EDGE) -> float:
    """Length in ln mass over which a limit fades: ``edge`` of the mass, at most a quarter."""
    return min(math.log1p(edge), 0.25 * (high - low))


def fade(log_mass: jax.Array, low: float, high: float, length: float) -> jax.Array:
    """1 between ``low`` and ``high`` but for the outermost ``length``, 0 outside."""
    return _step((log_mass - low) / length) * _step((high - log_mass) / length)


def _step(t: jax.Array) -> jax.Array:
    """0 below 0, 1 above 1, 6 t^5 - 15 t^4 + 10 t^3 between."""
    t = jnp.clip(t, 0.0, 1.0)
    return t**3 * (10.0 + t * (6.0 * t - 15.0))


class LimitCurve(eqx.Module):
    """A limit as a function of a mass."""

    segments: tuple[Segment, ...]
    measurement: Measurement
    mass: str = eqx.field(static=True)
    observable: str = eqx.field(static=True)
    power: float = eqx.field(static=True)
    raw: tuple[tuple[float, float], ...] = eqx.field(static=True)
    """(mass, limit) as in the table, nan in gaps: for plots"""

    def limit(self, mass: jax.Array) -> jax.Array:
        """The smooth limit at a mass [GeV]; inf in gaps and outside the range."""
        log_mass = jnp.log(mass)
        inside = [(s.weight(log_mass) > 0.0, s.limit(log_mass)) for s in self.segments]
        limit = jnp.full(jnp.shape(mass), jnp.inf)
        for within, value in inside:
            limit = jnp.where(within, value, limit)
        return limit

    def relative_rate(self, mass: jax.Array, value: jax.Array) -> jax.Array:
        """|value/limit|^power: 1 on the curve, 0 with gradient 0 in gaps and outside the range.

        Each stretch fades over the outermost 3 % in mass (``edge``), inside its range: nothing is
        claimed where nothing was published, and the gradient has no jump.
        """
        log_mass, value = jnp.log(mass), jnp.abs(value)
        return sum(
            (s.weight(log_mass) * (value / s.limit(log_mass)) ** self.power for s in self.segments),
            jnp.zeros(()),
        )

    @classmethod
    def load(cls, name: str) -> LimitCurve:
        """A curve of ``data/limit_curves``."""
        return cls.of(_FOLDER / f"{name}.toml", _FOLDER / f"{name}.csv", name)

    @classmethod
    def read(cls, path: str | Path) -> LimitCurve:
        """A curve of your own: a TOML file, and the CSV file of the same name beside it.

        Raises:
            InputError: a missing or unknown key, or a table that is no curve; names the file.
        """
        path = Path(path)
        curve = cls.of(path, path.with_suffix(".csv"), path.stem)
        known = {field.name for field in dataclasses.fields(Observables)} | {*PARAMETER_NAMES}
        if curve.observable not in known:
            raise InputError(f"{path}: '{curve.observable}' is no observable and no parameter")
        return curve

    @classmethod
    def of(cls, toml: Traversable, table: Traversable, name: str) -> LimitCurve:
        """From the two files; raises :class:`InputError` where a key is missing."""
        entry = tomllib.loads(toml.read_text(encoding="utf-8"))
        for key in ("mass", "observable", "confidence_level"):
            if key not in entry:
                raise InputError(f"{toml}: '{key}' is missing")
        if entry["mass"] not in PARAMETER_NAMES:
            known = ", ".join(PARAMETER_NAMES)
            raise InputError(f"{toml}: mass = '{entry['mass']}' is no parameter; known: {known}")
        rows = read_rows(table)
        if not pieces(rows):
            raise InputError(f"{table}: a curve needs at least two rows without a gap")
        opened = [bool(entry.get("open_below")), *([False] * len(rows))]
        segments = tuple(
            Segment.fit(
                *_stretch(rows, piece, table),
                points_per_knot=entry.get("points_per_knot", 1),
                edge=entry.get("edge", _EDGE),
                opened=opened[i],
            )
            for i, piece in enumerate(pieces(rows))
        )
        return cls(
            segments=segments,
            # The number is the ratio to the limit at the point's mass.
            measurement=Measurement(
                **curve_provenance(name, entry), unit="of the limit", limit=1.0
            ),
            mass=entry["mass"],
            observable=entry["observable"],
            power=_exact(entry.get("power", 1)),
            # One object for every gap: nan equals only itself, and unequal curves recompile.
            raw=tuple((float(m), math.nan if np.isnan(v) else float(v)) for m, v in rows[:, :2]),
        )


def read_rows(table: Traversable) -> np.ndarray:
    """(rows, columns) of a CSV file; '#' starts a comment, an empty cell is nan."""
    lines = [line.split("#")[0].strip() for line in table.read_text(encoding="utf-8").splitlines()]
    try:
        return np.array([[float(c or "nan") for c in line.split(",")] for line in lines if line])
    except ValueError as error:
        raise InputError(f"{table}: {error}") from error


def pieces(rows: np.ndarray) -> list[slice]:
    """Stretches of rows between gaps."""
    gaps = [-1, *np.flatnonzero(np.isnan(rows[:, 1])), len(rows)]
    return [slice(a + 1, b) for a, b in itertools.pairwise(gaps) if b - a > 2]


def _exact(power: float) -> float:
    """As an int where it is one: of x**1.0 the second derivative at 0 is 0 times infinity."""
    return int(power) if power == int(power) else power


def _stretch(rows: np.ndarray, piece: slice, table: Traversable) -> tuple[np.ndarray, np.ndarray]:
    mass, limit = rows[piece, 0], rows[piece, 1]
    # A row at mass 0 says that the limit goes on below: open_below.
    mass, limit = mass[mass > 0.0], limit[mass > 0.0]
    if np.any(np.diff(mass) <= 0.0) or np.any(limit <= 0.0):
        raise InputError(f"{table}: masses must increase, limits be positive")
    return mass, limit


def curve_provenance(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The fields of a :class:`Measurement` that say where a curve is from."""
    known = {field.name for field in dataclasses.fields(Measurement)} - {"limit", "value", "unit"}
    given = {key: value for key, value in entry.items() if key in known}
    defaults = {"key": name, "quantity": entry.get("observable", name)}
    return defaults | {"citation": "", "year": 0, "status": "unverified"} | given


def curve_entry(name: str) -> dict[str, Any]:
    """The TOML table of a shipped curve."""
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def limit_curve_names() -> list[str]:
    """Names of the shipped curves and of best-fit tables beside them."""
    return sorted(
        p.name.removesuffix(".toml") for p in _FOLDER.iterdir() if p.name.endswith("toml")
    )


class LimitCurveTerm(Term):
    """Half-Gaussian of the rate over its limit at the point's mass, see ``limit_quantile``."""

    measurement: Measurement
    curve: LimitCurve
    name: str = eqx.field(static=True)

    @classmethod
    def load(cls, name: str) -> Self:
        """The term of a shipped curve, with its name."""
        return cls._of(LimitCurve.load(name))

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The term of a curve of your own, see :meth:`LimitCurve.read`."""
        return cls._of(LimitCurve.read(path))

    @classmethod
    def _of(cls, curve: LimitCurve) -> Self:
        return cls(measurement=curve.measurement, curve=curve, name=curve.measurement.key)

    def rate(self, context: Context) -> jax.Array:
        """The limited quantity; the curve's ``observable`` unless a term says otherwise."""
        owner = context.observables
        if self.curve.observable in PARAMETER_NAMES:
            owner = context.point.params
        return jnp.asarray(getattr(owner, self.curve.observable))

    def prediction(self, context: Context) -> jax.Array:
        mass = jnp.asarray(getattr(context.point.params, self.curve.mass), float)
        return self.curve.relative_rate(mass, self.rate(context))

    def pull(self, context: Context) -> jax.Array:
        return self.prediction(context) * limit_quantile(self.measurement.confidence_level)

    def loglike(self, context: Context) -> jax.Array:
        return -0.5 * self.pull(context) ** 2
