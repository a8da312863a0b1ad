"""Momentum exchange of X with the bath, gamma of :mod:`coupled_boltzmann`, species by species."""

from __future__ import annotations

import functools
import math

import numpy as np


def _fermion(point, widths, s, t, u, mass, vector2, yukawa, n_states):
    """sum|M|^2 of X f -> X f, spins summed, times ``n_states`` (f and anti-f: 2).

    Z': 2 g^2 q_x^2 c^2 [(s-u)^2 + t (4 m_x^2 - t)]/(t - m^2)^2; Higgs: 2 (4 m_f^2 - t) |A|^2. The
    interference has opposite signs for f and anti-f.
    """
    p = point.params
    current = 2.0 * ((s - u) ** 2 + t * (4.0 * p.m_x**2 - t))
    exchange = (p.g_x * p.q_x) ** 2 * vector2 * current / (t - p.m_zp**2) ** 2
    c, n = float(point.cos_theta), float(point.sin_theta)
    a = point.g_h1_xx * n / (t - p.m_h1**2) - point.g_h2_xx * c / (t - point.sm.m_h2**2)
    scalar = 2.0 * (4.0 * mass**2 - t) * (yukawa * a) ** 2
    return n_states * (exchange + scalar)


def _vector(point, s, t, u):
    """sum|M|^2 of X Z' -> X Z': (A + 2a) g^{mu nu} - a N^{mu nu}, a = g^2 q_x^2, A Higgs exchange.

    The gauge part is transverse on both sides, so k k/m^2 of the polarisation sum acts on A alone.
    """
    p = point.params
    m2, mx2 = p.m_zp**2, p.m_x**2
    a = (p.g_x * p.q_x) ** 2
    c2, n2 = float(point.cos_theta) ** 2, float(point.sin_theta) ** 2
    higgs = c2 / (t - p.m_h1**2) + n2 / (t - point.sm.m_h2**2)
    amplitude = 2.0 * p.lambda_phix * m2 * higgs
    ds, du = s - mx2, u - mx2
    pp, kk = mx2 - 0.5 * t, m2 - 0.5 * t
    pk, pk_out = 0.5 * (s - mx2 - m2), 0.5 * (mx2 + m2 - u)
    s_s, u_u = 2.0 * s + 2.0 * mx2 - m2, 2.0 * u + 2.0 * mx2 - m2
    s_out, u_out = 4 * pp + 4 * pk_out + kk, 4 * pp - 4 * pk + kk
    s_u = 4 * pp - 2 * pk + 2 * pk_out - m2
    trace = s_out / ds + u_out / du
    square = (s_s / ds) ** 2 + (u_u / du) ** 2 + 2.0 * s_u**2 / (ds * du)
    gauge = a**2 * (16.0 - 4.0 * trace + square)
    return gauge + 2.0 * amplitude * a * (8.0 - trace) + amplitude**2 * (2.0 + (kk / m2) ** 2)


def _scalar(point, s, t, u):
    """|M|^2 of X H1 -> X H1, crossed from X X* -> H1 H1."""
    p = point.params
    g1, g2 = float(point.g_h1_xx), float(point.g_h2_xx)
    contact = -p.lambda_phix * float(point.cos_theta) ** 2
    exchange = float(point.c111) * g1 / (t - p.m_h1**2)
    exchange += float(point.c112) * g2 / (t - point.sm.m_h2**2)
    return (contact - exchange - g1**2 * (1 / (s - p.m_x**2) + 1 / (u - p.m_x**2))) ** 2


def _exchange(point, x, mass, statistics, mediator, squared):
    """gamma [GeV] of one species at T = m_x/x (n,); ``statistics`` +1 fermions, -1 bosons."""
    m_x = float(point.params.m_x)
    temperature = (m_x / x)[:, None, None]
    v, wv = np.polynomial.legendre.leggauss(40)
    v, wv = 0.5 * (v + 1.0), 0.5 * wv
    excess = (45.0 * v**2)[:, None]  # (w - mass)/T
    omega = mass + temperature * excess
    k2 = temperature * excess * (omega + mass)
    s = m_x**2 + 2.0 * m_x * omega + mass**2
    largest = 4.0 * k2 * m_x**2 / s
    r, wr = np.polynomial.legendre.leggauss(24)
    top = np.log1p(largest / mediator**2)
    q2 = mediator**2 * np.expm1(0.5 * top * (r + 1.0))
    dq2 = 0.5 * top * wr * (q2 + mediator**2)
    u = 2.0 * m_x**2 + 2.0 * mass**2 - s + q2
    inner = np.sum(dq2 * q2 * squared(s, -q2, u), axis=2) / (64.0 * math.pi * m_x**2)
    f = 1.0 / (np.exp(np.minimum(omega / temperature, 600.0))[:, :, 0] + statistics)
    # k^2 dk/(k w) = dw
    dw = temperature[:, 0] * 90.0 * v * wv
    outer = np.sum(dw * f * (1.0 - statistics * f) * inner, axis=1) / (2.0 * math.pi**2)
    return outer * x / (3.0 * m_x**2)


def momentum_exchange(point, widths, x):
    """gamma(T = m_x/x) [GeV] by species, {name: (n,)}."""
    p, sm = point.params, point.sm
    g2 = float(p.g_x) ** 2
    mixing2 = 4.0 * math.pi * sm.alpha * abs(complex(point.kinetic_mixing)) ** 2
    light = float(min(p.m_zp, p.m_h1))

    def fermion(mass, vector2, colours, n_states):
        yukawa = math.sqrt(colours) * mass / sm.v_h
        return _exchange(
            point,
            x,
            mass,
            1.0,
            light if vector2 else float(p.m_h1),
            lambda s, t, u: _fermion(point, widths, s, t, u, mass, vector2, yukawa, n_states),
        )

    quark_matter = np.exp(-((0.15 / (float(p.m_x) / x)) ** 8))
    found = {
        # Two flavours of nu and anti-nu, one helicity each: half the Dirac sum.
        "nu": fermion(0.0, g2, 1.0, 2.0),
        "e": fermion(float(sm.m_e), mixing2, 1.0, 2.0),
        "mu": fermion(float(sm.m_mu), g2, 1.0, 2.0),
        "tau": fermion(float(sm.m_tau), g2, 1.0, 2.0),
    }
    for name in ("s", "c", "b"):
        quarks = fermion(float(getattr(sm, f"m_{name}")), 0.0, 3.0, 2.0)
        found[name] = quarks * quark_matter
    zero = np.zeros_like(x)
    found["zp"], found["h1"] = zero, zero
    # Heavier ones are gone at freeze-out; beyond 2 m_x the u channel is on shell.
    if p.m_zp < p.m_x:
        found["zp"] = _exchange(
            point, x, float(p.m_zp), -1.0, float(p.m_h1), functools.partial(_vector, point)
        )
    if p.m_h1 < p.m_x:
        found["h1"] = _exchange(
            point, x, float(p.m_h1), -1.0, float(p.m_h1), functools.partial(_scalar, point)
        )
    return found
