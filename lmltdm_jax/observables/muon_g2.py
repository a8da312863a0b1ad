"""Anomalous magnetic moment of the muon: one loop of Z' and of the scalars."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmltdm_jax.model import Point
from lmltdm_jax.numerics.quadrature import gauss_legendre

_NODES = 64


def _light_nodes(r: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Nodes x and weights on [0, 1] by x = sqrt(r) sinh(t).

    The poles of 1/(x^2 + (1-x) r) sit near x = +-i sqrt(r), i.e. at Im t = pi/2 for every r < 1.
    """
    u, weight = gauss_legendre(_NODES)
    root = jnp.sqrt(r)[..., None]
    length = jnp.arcsinh(1.0 / root)
    t = length * u
    return root * jnp.sinh(t), weight * length * root * jnp.cosh(t)


def _heavy_nodes(r: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Nodes y = 1 - x and weights on [0, 1] by y = (exp(t) - 1)/r: resolves y ~ 1/r for r > 1."""
    u, weight = gauss_legendre(_NODES)
    length = jnp.log1p(r)[..., None]
    t = length * u
    return jnp.expm1(t) / r[..., None], weight * length * jnp.exp(t) / r[..., None]


class _Nodes(NamedTuple):
    """Nodes and weights of one r: x for r < 1, y = 1 - x for r >= 1; a harmless r elsewhere."""

    r: jax.Array
    light: jax.Array
    heavy: jax.Array
    x: jax.Array
    weight_x: jax.Array
    y: jax.Array
    weight_y: jax.Array


def _nodes(r: jax.Array) -> _Nodes:
    is_light = r < 1.0
    light, heavy = jnp.where(is_light, r, 0.5), jnp.where(is_light, 2.0, r)
    # The integrals do not depend on where the nodes are: these carry no gradient.
    nodes = jax.lax.stop_gradient((*_light_nodes(light), *_heavy_nodes(heavy)))
    return _Nodes(r, light, heavy, *nodes)


def zp_loop(r: jax.Array) -> jax.Array:
    """F(r) = int_0^1 dx 2 x^2 (1-x)/(x^2 + (1-x) r), r = m_zp^2/m_mu^2 > 0, any shape.

    J. P. Leveille, NPB 137 63 (1978); F -> 1 for r -> 0 and 2/(3r) for r -> inf. Relative accuracy
    1e-12 or better for 1e-12 < r < 1e12; the closed form loses r^3 digits and is not used.
    """
    return _zp_integral(_nodes(jnp.asarray(r, float)))


def _zp_integral(n: _Nodes) -> jax.Array:
    denominator = n.x**2 + (1.0 - n.x) * n.light[..., None]
    f_light = jnp.sum(n.weight_x * 2.0 * n.x**2 * (1.0 - n.x) / denominator, axis=-1)
    # x^2 y/(x^2 + y r) = [x^2 - x^4/(x^2 + y r)]/r: the leading 2/(3r) is taken out exactly.
    square = (1.0 - n.y) ** 2
    rest = jnp.sum(n.weight_y * square**2 / (square + n.y * n.heavy[..., None]), axis=-1)
    return jnp.where(n.r < 1.0, f_light, 2.0 / n.heavy * (1.0 / 3.0 - rest))


def scalar_loop(r: jax.Array) -> jax.Array:
    """G(r) = int_0^1 dx (1-x)^2 (1+x)/((1-x)^2 + x r), r = m_S^2/m_mu^2 > 0, any shape.

    J. P. Leveille, NPB 137 63 (1978); G -> 3/2 for r -> 0 and (ln r - 7/6)/r for r -> inf.
    Relative accuracy as :func:`zp_loop`.
    """
    return _scalar_integral(_nodes(jnp.asarray(r, float)))


def _scalar_integral(n: _Nodes) -> jax.Array:
    denominator = n.x**2 + (1.0 - n.x) * n.light[..., None]
    g_light = jnp.sum(n.weight_x * n.x**2 * (2.0 - n.x) / denominator, axis=-1)
    square = (1.0 - n.y) ** 2
    denominator = square + n.y * n.heavy[..., None]
    g_heavy = jnp.sum(n.weight_y * square * (1.0 + n.y) / denominator, axis=-1)
    return jnp.where(n.r < 1.0, g_light, g_heavy)


def delta_a_mu(point: Point) -> jax.Array:
    """Delta a_mu of the model: Z' loop g_x^2 F/(8 pi^2), H1 loop, and the change of the H2 loop.

    Scalars: sin^2(theta) (m_mu/v_h)^2/(8 pi^2) [G(m_h1) - G(m_h2)]; H2 enters with cos^2(theta) - 1
    because the SM value holds a Higgs of unit coupling. No two-loop (Barr-Zee) terms: relative to
    the scalar one-loop they can be large, but both are below 1e-13 for |sin(theta)| < 0.01 and
    m_h1 above a few MeV.
    """
    p, sm = point.params, point.sm
    mu2 = sm.m_mu**2
    masses = jnp.stack([jnp.asarray(m, float) for m in (p.m_zp, p.m_h1, sm.m_h2)])
    zp, h1, h2 = (_Nodes(*n) for n in zip(*_nodes(masses**2 / mu2), strict=True))
    vector = p.g_x**2 * _zp_integral(zp)
    scalars = _scalar_integral(h1) - _scalar_integral(h2)
    return (vector + point.sin_theta**2 * mu2 / sm.v_h**2 * scalars) / (8.0 * math.pi**2)
