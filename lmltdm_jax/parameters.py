"""Parameters of a model: one pytree, and one table that priors, CLI, plots and docs read.

:class:`ParameterSet` is what every model is to the rest of the package; :class:`Parameters` is the
dark-Higgs model, :mod:`lmltdm_jax.zp_only` has those without a dark Higgs.
"""

from __future__ import annotations

import abc
import dataclasses
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.dark_matter import DarkMatter, PortalScalar
from lmltdm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class ParameterInfo:
    """One row of a parameter table.

    ``domain`` is what is physical (open interval unless ``closed_low``, without 0 if ``nonzero``);
    ``prior`` is the range sampled by default, flat in ``log10`` for ``scale="log"``;
    ``scale="fixed"`` is not sampled.
    """

    name: str
    unit: str
    latex: str
    description: str
    domain: tuple[float, float]
    closed_low: bool
    prior: tuple[float, float]
    scale: Literal["log", "linear", "fixed"]
    default: float | None = None
    nonzero: bool = False

    def contains(self, value: float) -> bool:
        low, high = self.domain
        above = value >= low if self.closed_low else value > low
        return math.isfinite(value) and above and value < high and not (self.nonzero and value == 0)

    @property
    def allowed(self) -> str:
        """The domain as a reader would write it, e.g. ``0 < m_x (GeV)``."""
        low, high = self.domain
        if self.nonzero:
            return f"any finite {self.name} except 0"
        left = "" if low == -math.inf else f"{low:g} {'<=' if self.closed_low else '<'} "
        right = "" if high == math.inf else f" < {high:g}"
        unit = f" [{self.unit}]" if self.unit else ""
        return f"{left}{self.name}{unit}{right}" if left or right else f"any finite {self.name}"


_INF = math.inf
PARAMETER_TABLE: tuple[ParameterInfo, ...] = (
    ParameterInfo("m_zp", "GeV", r"m_{Z'}", "Z' mass", (0.0, _INF), False, (3e-3, 0.5), "log"),
    ParameterInfo(
        "g_x", "", r"g_X", "U(1) gauge coupling", (0.0, _INF), False, (1e-5, 1e-2), "log"
    ),
    ParameterInfo(
        "sin_theta", "", r"\sin\theta", "H1-H2 mixing angle", (-1.0, 1.0), False, (1e-4, 0.1), "log"
    ),
    ParameterInfo(
        "m_x", "GeV", r"m_X", "dark matter mass", (0.0, _INF), False, (5e-3, 20.0), "log"
    ),
    ParameterInfo(
        "m_h1", "GeV", r"m_{H_1}", "dark Higgs mass", (0.0, _INF), False, (0.03, 20.0), "log"
    ),
    ParameterInfo(
        "q_phi",
        "",
        r"Q_\Phi",
        "charge of Phi (m_zp = g_x |q_phi| v_phi)",
        (-_INF, _INF),
        False,
        (0.05, 2.0),
        "log",
        nonzero=True,
    ),
    ParameterInfo(
        "lambda_phix",
        "",
        r"\lambda_{\Phi X}",
        "portal coupling |X|^2 |Phi|^2",
        (-_INF, _INF),
        False,
        (1e-7, 4 * math.pi),
        "log",
    ),
    ParameterInfo(
        "q_x", "", r"Q_X", "charge of X", (-_INF, _INF), False, (1.0, 1.0), "fixed", default=1.0
    ),
)
PARAMETER_NAMES: tuple[str, ...] = tuple(info.name for info in PARAMETER_TABLE)


def find_parameter(table: Sequence[ParameterInfo], name: str) -> ParameterInfo:
    """Row of a table; raises :class:`InputError` naming the known parameters."""
    for info in table:
        if info.name == name:
            return info
    known = ", ".join(info.name for info in table)
    raise InputError(f"unknown parameter '{name}'; known: {known}")


def parameter_info(name: str) -> ParameterInfo:
    """Row of the dark-Higgs model's table."""
    return find_parameter(PARAMETER_TABLE, name)


class ParameterSet(eqx.Module):
    """A point of a model's parameter space (or a batch: fields are arrays of one common shape).

    Masses in GeV, couplings and charges dimensionless. A model is a subclass: the fields in the
    order of its ``table``, what its dark matter is, and how it embeds in the dark-Higgs model. The
    constructor does not validate, so it can be used on tracers; :meth:`from_dict`,
    :meth:`from_toml` and :meth:`validate` do.
    """

    model: ClassVar[str]
    """name of ``--model``"""
    table: ClassVar[tuple[ParameterInfo, ...]]
    dark_matter: ClassVar[type[DarkMatter]]
    dark_matter_mass: ClassVar[str] = "m_x"
    """name of its parameter"""
    has_dark_higgs: ClassVar[bool] = True
    """whether observables of H1 itself (its width, its branching fractions) mean anything"""

    @classmethod
    @abc.abstractmethod
    def benchmark(cls) -> Self:
        """A physical point inside the prior; the likelihood's place to fall back to."""

    @abc.abstractmethod
    def as_dark_higgs(self) -> Parameters:
        """The point of the dark-Higgs model with the same Z' and the same dark-matter mass and
        charge; where this model has no dark Higgs, one that is decoupled."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Parameters in table order."""
        return tuple(info.name for info in cls.table)

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> Self:
        """Validated point from ``{name: value}``; a parameter with a default may be left out.

        Raises:
            InputError: unknown or missing name, non-numeric or unphysical value.
        """
        for name in values:
            find_parameter(cls.table, name)
        full = {}
        for info in cls.table:
            if info.name in values:
                full[info.name] = values[info.name]
            elif info.default is not None:
                full[info.name] = info.default
            else:
                raise InputError(f"missing parameter '{info.name}' (allowed: {info.allowed})")
        point = cls(**full)
        point.validate()
        return point

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Validated point from the ``[parameters]`` table (or top level) of a TOML file."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read as text ({error})") from error
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{path}: not valid TOML ({error})") from error
        try:
            return cls.from_dict(table.get("parameters", table))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    @classmethod
    def from_vector(cls, vector: jax.Array) -> Self:
        """Point from an array whose last axis runs over :meth:`names`."""
        vector, names = jnp.asarray(vector), cls.names()
        if vector.shape[-1] != len(names):
            raise InputError(
                f"a parameter vector has {len(names)} entries "
                f"({', '.join(names)}); got shape {vector.shape}"
            )
        return cls(*(vector[..., i] for i in range(len(names))))

    def to_vector(self) -> jax.Array:
        """Array with the parameters along the last axis, in table order."""
        return jnp.stack(
            jnp.broadcast_arrays(*(jnp.asarray(getattr(self, n), float) for n in self.names())),
            axis=-1,
        )

    def to_dict(self) -> dict[str, float | list[float]]:
        """``{name: value}`` of Python floats (lists for a batch)."""
        return {name: np.asarray(getattr(self, name)).tolist() for name in self.names()}

    def to_toml(self, path: str | Path) -> None:
        """Write a ``[parameters]`` table that :meth:`from_toml` reads back bit for bit."""
        lines = ["[parameters]"]
        for name, value in self.to_dict().items():
            if isinstance(value, list):
                raise InputError("a batch of points cannot be written to one TOML file")
            lines.append(f"{name} = {float(value)!r}")
        try:
            Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from error

    def replace(self, **changes: jax.Array | float) -> Self:
        """A copy with some fields changed (no validation: usable on tracers)."""
        for name in changes:
            find_parameter(self.table, name)
        return dataclasses.replace(self, **changes)

    def validate(self) -> None:
        """Check every (concrete) value against its physical domain.

        Raises:
            InputError: names the parameter, the value, its index in a batch, the allowed range.
        """
        for info in self.table:
            try:
                values = np.asarray(getattr(self, info.name), dtype=float)
            except (TypeError, ValueError):
                shown = getattr(self, info.name)
                raise InputError(
                    f"{info.name} = {shown!r} is not a number (allowed: {info.allowed})"
                ) from None
            for index, value in enumerate(np.atleast_1d(values).ravel()):
                if not info.contains(float(value)):
                    where = f" at index {index}" if values.ndim else ""
                    raise InputError(
                        f"{info.name} = {value:g}{where} is outside its range "
                        f"(allowed: {info.allowed})"
                    )


class Parameters(ParameterSet):
    """The dark-Higgs model: complex scalar X with a Higgs portal, Z', H1 (arXiv:2401.10112)."""

    model: ClassVar[str] = "dark-higgs"
    table: ClassVar[tuple[ParameterInfo, ...]] = PARAMETER_TABLE
    dark_matter: ClassVar[type[DarkMatter]] = PortalScalar

    m_zp: jax.Array | float
    g_x: jax.Array | float
    sin_theta: jax.Array | float
    m_x: jax.Array | float
    m_h1: jax.Array | float
    q_phi: jax.Array | float
    lambda_phix: jax.Array | float
    q_x: jax.Array | float = 1.0

    @classmethod
    def benchmark(cls) -> Self:
        """The talk's benchmark: m_zp 11.5 MeV, g_x 5e-4, q_phi 0.4, sin(theta) 6e-3.

        The talk leaves m_x, m_h1 and lambda_phix to the relic density. Here m_h1 = 2 GeV (two-body
        B -> K H1), m_x = 0.3 GeV and lambda_phix is the root of Omega h2 = 0.12 on the
        small-lambda branch (Omega h2 falls with lambda there), as solved by the reference
        Boltzmann code; a second root may exist at large lambda, where the H1 width suppresses
        the annihilation.
        """
        return cls(0.0115, 5e-4, 6e-3, 0.3, 2.0, 0.4, 0.003767924836570537, 1.0)

    def as_dark_higgs(self) -> Parameters:
        return self


def in_domain(params: ParameterSet) -> jax.Array:
    """True where every parameter is physical; usable under jit (the traced :meth:`validate`)."""
    ok = jnp.asarray(True)
    for info in params.table:
        value = jnp.asarray(getattr(params, info.name))
        low, high = info.domain
        above = value >= low if info.closed_low else value > low
        ok = ok & jnp.isfinite(value) & above & (value < high)
        if info.nonzero:
            ok = ok & (value != 0.0)
    return ok


def sampled_parameters(names: Sequence[str] | None = None) -> tuple[ParameterInfo, ...]:
    """Rows that have a prior (``scale`` not "fixed"), optionally restricted to ``names``."""
    rows = tuple(info for info in PARAMETER_TABLE if info.scale != "fixed")
    if names is None:
        return rows
    return tuple(parameter_info(name) for name in names)
