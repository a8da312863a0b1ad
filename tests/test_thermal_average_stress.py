"""<sigma v> and its gradient at 520 random points with extreme couplings, widths and distances."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from independent_average import independent, setup
from stress_points import COUPLINGS, KINDS, WIDTHS, stress_points

from lmltdm_jax.observables.thermal_average import sigma_v
from lmltdm_jax.observables.thermal_tables import x_of
from lmltdm_jax.parameters import PARAMETER_NAMES

PROBES = np.array([0, 1, 2, 3, 5, 8, 14, 20, 30, 45, 60, 75, 85])
X = x_of(np.linspace(0.0, 1.0, 97))[PROBES]
STEP = 1e-4


def ln_average(log_vector):
    return jnp.log(sigma_v(*setup(jnp.exp(log_vector))))[PROBES]


@jax.jit
def production(logs):
    return jax.lax.map(ln_average, logs)


@functools.cache
def errors():
    """(points, x), and the kind of each point."""
    points, kinds = stress_points()
    parts = independent(points, X)
    theirs = parts[:, 0] + parts[:, 2]
    return np.abs(np.exp(np.asarray(production(np.log(points)))) / theirs - 1.0), kinds


def test_the_points_are_what_they_should_be():
    points, kinds = stress_points()
    assert len(points) >= 500 and np.all(np.bincount(kinds) == len(points) // len(KINDS))
    column = dict(zip(PARAMETER_NAMES, points.T, strict=True))
    assert column["lambda_phix"].min() < 10.0 * COUPLINGS[0]
    # Gamma/m = g_x^2/(12 pi) of the Z'.
    assert column["g_x"].min() < 2.0 * math.sqrt(12.0 * math.pi * WIDTHS[0])
    assert max(column["g_x"].max(), column["lambda_phix"].max()) > 1.0
    for kind, name in enumerate(("m_h1", "m_zp")):
        distance = column[name][kinds == kind] / (2.0 * column["m_x"][kinds == kind]) - 1.0
        assert (distance < 0.0).any() and np.abs(distance).min() < 1e-9 and distance.max() > 10.0
    assert X[0] < 1.001 and X[-1] > 5e3
    vectors = jnp.asarray(points)
    widths = jax.vmap(lambda v: setup(v)[1].h1.total / v[PARAMETER_NAMES.index("m_h1")])(vectors)
    assert WIDTHS[0] < widths.min() < 1e-12 and 0.1 < widths.max() < WIDTHS[1]


def test_against_the_independent_quadrature():
    """1e-4 at 516 of 520 points for all x from 1 to 6e3, at every point for x > 5.

    Two of the others have Gamma/m > 1.2 (6e-4, x < 2), one a narrow H1 beside the charm threshold
    of the tabulated width (4e-4, x = 3.5), one hadrons at sqrt(s) = 150 m_x (2e-4, x < 2).
    """
    error, _ = errors()
    assert error[:, X > 5.0].max() < 1e-4
    assert error[:, X > 10.0].max() < 2e-5
    assert (error.max(axis=1) > 1e-4).sum() <= 5
    assert error.max() < 1e-3
    assert np.median(error) < 1e-6


def test_gradients():
    """ln <sigma v> along random directions against differences, where those have converged.

    The step is a part of the distance of the poles and final states from threshold: closer than
    1e-6 rounding spoils it.
    """
    points, _ = stress_points()
    base = np.log(points)
    m_zp, m_x, m_h1 = (points[:, PARAMETER_NAMES.index(n)] for n in ("m_zp", "m_x", "m_h1"))
    gaps = [m / m_x - k for m in (m_zp, m_h1) for k in (1.0, 2.0)] + [(m_zp + m_h1) / m_x - 2.0]
    gap = np.abs(gaps).min(axis=0)
    step = np.minimum(STEP, 0.02 * gap)[:, None]
    direction = np.random.default_rng(8).normal(size=base.shape)

    @jax.jit
    def forward(logs, directions):
        def one(pair):
            return jax.jvp(ln_average, pair[:1], pair[1:])[1]

        return jax.lax.map(one, (logs, directions))

    slope = np.asarray(forward(base, direction))
    stencil = np.array([-4, -2, -1, 1, 2, 4])[:, None, None] * step
    values = np.asarray(production((base + stencil * direction).reshape(-1, base.shape[1])))
    a, b, c, d, e, f = values.reshape(6, len(base), -1)
    fine, coarse = (b - 8 * c + 8 * d - e) / (12 * step), (a - 8 * b + 8 * e - f) / (24 * step)
    scale = 1.0 + np.abs(fine)
    converged = (np.abs(fine - coarse) < 1e-5 * scale) & (gap > 1e-6)[:, None]
    assert np.all(np.isfinite(slope))
    error = np.where(converged, np.abs(slope - fine) / scale, 0.0)
    assert converged.mean() > 0.75
    assert error.max() < 1e-4, points[np.unravel_index(error.argmax(), error.shape)[0]]
