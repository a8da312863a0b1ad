"""The model's parameters: one pytree, and one table that priors, CLI, plots and docs read."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class ParameterInfo:
    """One row of the parameter table.

    ``domain`` is what is physical (open interval unless ``closed_low``); ``prior`` is the range
    sampled by default, flat in ``log10`` for ``scale="log"``; ``scale="fixed"`` is not sampled.
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

    def contains(self, value: float) -> bool:
        low, high = self.domain
        above = value >= low if self.closed_low else value > low
        return math.isfinite(value) and above and value < high

    @property
    def allowed(self) -> str:
        """The domain as a reader would write it, e.g. ``0 < m_x (GeV)``."""
        low, high = self.domain
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


def parameter_info(name: str) -> ParameterInfo:
    """Row of the table; raises :class:`InputError` naming the known parameters."""
    for info in PARAMETER_TABLE:
        if info.name == name:
            return info
    raise InputError(f"unknown parameter '{name}'; known: {', '.join(PARAMETER_NAMES)}")


class Parameters(eqx.Module):
    """A point of parameter space (or a batch: every field an array of one common shape).

    Masses in GeV, couplings and charges dimensionless. The constructor does not validate, so it
    can be used on tracers; :meth:`from_dict`, :meth:`from_toml` and :meth:`validate` do.
    """

    m_zp: jax.Array | float
    g_x: jax.Array | float
    sin_theta: jax.Array | float
    m_x: jax.Array | float
    m_h1: jax.Array | float
    q_phi: jax.Array | float
    lambda_phix: jax.Array | float
    q_x: jax.Array | float = 1.0

    @classmethod
    def benchmark(cls) -> Parameters:
        """The talk's benchmark: m_zp 11.5 MeV, g_x 5e-4, q_phi 0.4, sin(theta) 6e-3.

        The talk leaves m_x, m_h1 and lambda_phix to the relic density. Here m_h1 = 2 GeV (two-body
        B -> K H1), m_x = 0.3 GeV and lambda_phix is the root of Omega h2 = 0.12 on the
        small-lambda branch (Omega h2 falls with lambda there), as solved by the reference
        Boltzmann code; a second root may exist at large lambda, where the H1 width suppresses
        the annihilation.
        """
        return cls(0.0115, 5e-4, 6e-3, 0.3, 2.0, 0.4, 0.003767924836570537, 1.0)

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> Parameters:
        """Validated point from ``{name: value}``; ``q_x`` may be left out (1).

        Raises:
            InputError: unknown or missing name, non-numeric or unphysical value.
        """
        known = set(PARAMETER_NAMES)
        for name in values:
            if name not in known:
                parameter_info(name)
        full = {}
        for info in PARAMETER_TABLE:
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
    def from_toml(cls, path: str | Path) -> Parameters:
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
    def from_vector(cls, vector: jax.Array) -> Parameters:
        """Point from an array whose last axis runs over :data:`PARAMETER_NAMES`."""
        vector = jnp.asarray(vector)
        if vector.shape[-1] != len(PARAMETER_NAMES):
            raise InputError(
                f"a parameter vector has {len(PARAMETER_NAMES)} entries "
                f"({', '.join(PARAMETER_NAMES)}); got shape {vector.shape}"
            )
        return cls(*(vector[..., i] for i in range(len(PARAMETER_NAMES))))

    def to_vector(self) -> jax.Array:
        """Array with the parameters along the last axis, in table order."""
        return jnp.stack(
            jnp.broadcast_arrays(*(jnp.asarray(getattr(self, n), float) for n in PARAMETER_NAMES)),
            axis=-1,
        )

    def to_dict(self) -> dict[str, float | list[float]]:
        """``{name: value}`` of Python floats (lists for a batch)."""
        return {name: np.asarray(getattr(self, name)).tolist() for name in PARAMETER_NAMES}

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

    def replace(self, **changes: jax.Array | float) -> Parameters:
        """A copy with some fields changed (no validation: usable on tracers)."""
        for name in changes:
            parameter_info(name)
        return dataclasses.replace(self, **changes)

    def validate(self) -> None:
        """Check every (concrete) value against its physical domain.

        Raises:
            InputError: names the parameter, the value, its index in a batch, the allowed range.
        """
        for info in PARAMETER_TABLE:
            try:
                values = np.asarray(getattr(self, info.name), dtype=float)
            except (TypeError, ValueError):
                shown = getattr(self, info.name)
                raise InputError(
                    f"{info.name} = {shown!r} is not a number (allowed: {info.allowed})"
                ) from None
            for index, value in enumerate(np.atleast_1d(values).ravel()):
                if not _in_domain(info, float(value)):
                    where = f" at index {index}" if values.ndim else ""
                    raise InputError(
                        f"{info.name} = {value:g}{where} is outside its range "
                        f"(allowed: {_allowed(info)})"
                    )


def _in_domain(info: ParameterInfo, value: float) -> bool:
    # v_phi = m_zp / (g_x |q_phi|) has no value at q_phi = 0.
    return info.contains(value) and not (info.name == "q_phi" and value == 0.0)


def _allowed(info: ParameterInfo) -> str:
    return "any finite q_phi except 0" if info.name == "q_phi" else info.allowed


def in_domain(params: Parameters) -> jax.Array:
    """True where every parameter is physical; usable under jit (the traced :meth:`validate`)."""
    ok = jnp.asarray(params.q_phi) != 0.0
    for info in PARAMETER_TABLE:
        value = jnp.asarray(getattr(params, info.name))
        low, high = info.domain
        above = value >= low if info.closed_low else value > low
        ok = ok & jnp.isfinite(value) & above & (value < high)
    return ok


def sampled_parameters(names: Sequence[str] | None = None) -> tuple[ParameterInfo, ...]:
    """Rows that have a prior (``scale`` not "fixed"), optionally restricted to ``names``."""
    rows = tuple(info for info in PARAMETER_TABLE if info.scale != "fixed")
    if names is None:
        return rows
    return tuple(parameter_info(name) for name in names)
