"""<sigma v> by another quadrature: panels in ln |s - mu^2| towards every break point mu.

Break points are thresholds, poles and features of the tabulated hadronic width: Gauss-Legendre
panels, 30 decades deep on both sides of each, and K_1 of scipy.
"""

import dataclasses
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from lmltdm_jax.hadronic_widths import M_PION
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.annihilation import portal_channels
from lmltdm_jax.observables.annihilation_base import Energy, rates
from lmltdm_jax.parameters import PARAMETER_NAMES, Parameters
from lmltdm_jax.widths import H2Widths, build_widths

GOLDEN = json.loads((Path(__file__).parent / "golden" / "relic.json").read_text())
C = GOLDEN["meta"]["constants"]
SM = StandardModel.load("talk2024")
# alpha = 0 switches off the kinetic mixing, which the reference does not have.
GOLDEN_SM = SM.replace(
    alpha=0.0,
    m_e=C["Me"],
    m_mu=C["Mm"],
    m_tau=C["Ml"],
    m_s=C["Ms"],
    m_c=C["Mc"],
    m_b=C["Mb"],
    v_h=C["vH"],
    m_h2=C["MH2"],
)
KEYS = ("MZp", "gX", "sTh", "MX", "MH1", "QPhi", "lPX", "QX")
M_X = PARAMETER_NAMES.index("m_x")


def setup(vector, reference=False):
    """Point and widths; ``reference``: the golden file's inputs, quarks in H1, fixed H2 width."""
    sm = jax.tree.map(lambda a, b: jnp.where(reference, a, b), GOLDEN_SM, SM)
    point = build_point(Parameters.from_vector(vector), sm)
    widths = build_widths(point)
    m = point.params.m_h1
    quarks = 0.0
    for m_q in (sm.m_s, sm.m_c, sm.m_b):
        beta2 = jnp.maximum(1.0 - (2.0 * m_q / m) ** 2, 0.0)
        quarks += 3.0 * (point.sin_theta * m_q / sm.v_h) ** 2 * m * beta2**1.5 / (8.0 * math.pi)
    h1 = dataclasses.replace(widths.h1, hadrons=jnp.where(reference, quarks, widths.h1.hadrons))
    fixed = H2Widths(*(jnp.asarray(w) for w in (C["wH2"], 0.0, 0.0, 0.0, 0.0)))
    h2 = jax.tree.map(lambda a, b: jnp.where(reference, a, b), fixed, widths.h2)
    return point, dataclasses.replace(widths, h1=h1, h2=h2)


EXTRA = (
    2 * M_PION,
    0.7,
    0.9,
    0.96,
    0.98,
    0.9873547,
    0.99546,
    1.02,
    1.2,
    1.5,
    1.85,
    2.0,
    3.73,
    10.6,
)
"""Break points for the tabulated hadronic width: thresholds, f_0(980), matching."""


@jax.jit
@jax.vmap
def features(vector):
    """Thresholds and pole masses of one point."""
    families = [c.family for c in portal_channels(*setup(vector), "free_quarks").values()]
    thresholds = [f.mass_a + f.mass_b for f in families]
    return jnp.concatenate([*thresholds, families[0].pole_mass, families[1].pole_mass])


@jax.jit
def rates_at(sample, mu, y):
    """R(mu^2 + y) [GeV^2], (3, n): all but quarks, quarks, tabulated hadrons."""

    def family(channel, m_x, mu, y):
        f = channel.family
        above = (mu - f.mass_a[:, None] - f.mass_b[:, None]) * (
            mu + f.mass_a[:, None] + f.mass_b[:, None]
        ) + y
        above_xx = jnp.maximum((mu - 2.0 * m_x) * (mu + 2.0 * m_x) + y, 0.0)
        ones = jnp.ones_like(above)
        energy = Energy((mu**2 + y) * ones, above_xx * ones, jnp.maximum(above, 0.0))
        offset = (mu - f.pole_mass[:, None]) * (mu + f.pole_mass[:, None]) + y
        width = (f.pole_mass * f.pole_width)[None, :, None]
        rate = rates(channel.terms(energy), f.alpha, offset[None], width)
        return jnp.where(above > 0.0, rate, 0.0)

    def one(arguments):
        vector, mu, y = arguments
        point, widths = setup(vector)
        m_x = point.params.m_x
        found = portal_channels(point, widths, "free_quarks")
        quarks = jnp.sum(family(found["scalar"], m_x, mu, y)[3:], axis=0)
        rest = sum(jnp.sum(family(c, m_x, mu, y), axis=0) for c in found.values()) - quarks
        tabulated = portal_channels(point, widths, "dispersive")["scalar"]
        return jnp.stack([rest, quarks, family(tabulated, m_x, mu, y)[3]])

    return jax.lax.map(one, (sample, mu, y))


def panels(m_x, masses, n_panels, order):
    """Break point, y and weight of every node; 80 T at x = 1 above the last break point."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    nodes, weights = 0.5 * (nodes + 1.0), 0.5 * weights
    mu = np.sort([2.0 * m_x, *(m for m in masses if m > 2.0 * m_x)])
    gaps = np.append(np.diff(mu) * (mu[1:] + mu[:-1]), (mu[-1] + 80.0 * m_x) ** 2 - mu[-1] ** 2)
    shape = (len(masses) + 1, 2, n_panels + 1, order)
    base, y, w = np.full(shape, 2.0 * m_x), np.full(shape, m_x**2), np.zeros(shape)
    for i, gap in enumerate(gaps):
        for side in (0, 1) if i + 1 < len(mu) else (0,):
            if gap <= 0.0:
                continue
            length = gap if i + 1 == len(mu) else 0.5 * gap
            edges = length * 10.0 ** np.linspace(-30.0, 0.0, n_panels + 1)
            ratio = np.log(edges[1:] / edges[:-1])[:, None]
            inside = edges[:-1, None] * np.exp(ratio * nodes)
            base[i, side] = mu[i + side]
            y[i, side] = np.concatenate([edges[:1] * nodes[None], inside]) * (1 - 2 * side)
            w[i, side] = np.concatenate([edges[:1] * weights[None], inside * ratio * weights])
    return base.ravel(), y.ravel(), w.ravel()


CHUNK = 8
"""Points per compiled call."""


def independent(sample, x, n_panels=40, order=10):
    """<sigma v> (points, 3, x) of the three groups of :func:`rates_at`."""
    count = len(sample)
    padded = np.pad(sample, ((0, -count % CHUNK), (0, 0)), "edge").reshape(-1, CHUNK, 8)
    return np.concatenate([_independent(s, x, n_panels, order) for s in padded])[:count]


def _independent(sample, x, n_panels, order):
    masses = np.concatenate([features(sample), np.tile(EXTRA, (len(sample), 1))], axis=1)
    m_x = sample[:, M_X]
    layout = [panels(m, row, n_panels, order) for m, row in zip(m_x, masses, strict=True)]
    base, y, weight = (np.array(a) for a in zip(*layout, strict=True))
    rate = np.asarray(rates_at(sample, base, y))
    above = (base - 2.0 * m_x[:, None]) * (base + 2.0 * m_x[:, None]) + y
    u = np.sqrt(base**2 + y) / m_x[:, None]
    excess = above / m_x[:, None] ** 2 / (u + 2.0)
    out = []
    for xi in x:
        kernel = weight * special.k1e(xi * u) * np.exp(-xi * excess)
        norm = xi / (8.0 * m_x**5 * special.kve(2, xi) ** 2)
        out.append(np.einsum("pn,pgn->pg", kernel, rate) * norm[:, None])
    return np.stack(out, axis=-1)
