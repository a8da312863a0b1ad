"""Z'-only models: golden points, spinor sums, the decoupling limit, thresholds, resonance."""

import itertools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from lmltdm_jax import Parameters, ZpFermionParameters, ZpScalarParameters
from lmltdm_jax.constants import GEV_INV2_TO_CM3_S
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.annihilation_base import sigma_by_family
from lmltdm_jax.observables.annihilation_zp_only import fermion_channels
from lmltdm_jax.observables.cmb_annihilation import RELATIVE_VELOCITY, cmb_annihilation
from lmltdm_jax.observables.relic_density import omega_h2
from lmltdm_jax.observables.thermal_average import annihilation, sigma_v
from lmltdm_jax.observables.thermal_tables import x_of
from lmltdm_jax.widths import build_widths

GOLDEN = json.loads((Path(__file__).parent / "golden" / "relic_fermion.json").read_text())
C = GOLDEN["meta"]["constants"]
SM = StandardModel.load("talk2024")
# alpha = 0 switches off the kinetic mixing, which the reference does not have.
GOLDEN_SM = SM.replace(alpha=0.0, m_e=C["Me"], m_mu=C["Mm"], m_tau=C["Ml"])
PB = 3.8937966e8
MODELS = [ZpScalarParameters, ZpFermionParameters]
MASS = {ZpScalarParameters: "m_x", ZpFermionParameters: "m_chi"}


def setup(params, sm=SM):
    point = build_point(params, sm)
    return point, build_widths(point)


@jax.jit
def omega(params, sm=SM):
    return omega_h2(*setup(params, sm))


X = x_of(np.linspace(0.0, 1.0, 129))


@jax.jit
def average(params, sm):
    return sigma_v(*setup(params, sm), X.size)


def golden(entry):
    i = entry["inputs"]
    return ZpFermionParameters(i["MZp"], i["gX"], i["Mc"], i["Qc"])


@pytest.mark.parametrize("entry", GOLDEN["points"], ids=lambda e: e["id"])
def test_fermion_against_the_reference(entry):
    params = golden(entry)
    point, widths = setup(params, GOLDEN_SM)
    assert float(widths.zp.total) == pytest.approx(entry["w_zp"], rel=2e-7)
    # The solver with the same degrees of freedom; the other one has its own, and 0.2 % of error.
    assert float(omega(params, GOLDEN_SM)) == pytest.approx(entry["omega_h2_scipy"], rel=2e-4)
    assert float(omega(params, GOLDEN_SM)) == pytest.approx(entry["omega_h2_micromegas"], rel=1e-2)
    table = np.array(entry["xsec"]).T
    sigma = sigma_by_family(
        fermion_channels(point, widths, "dispersive"), params.m_chi, table[0] ** 2
    )
    ours = [sigma["zpzp"][0], sigma["vector"][2], 0.5 * sigma["vector"][0], sigma["vector"][3]]
    for name, mine, reference in zip(("zz", "mu", "nu", "tau"), ours, table[1:], strict=True):
        np.testing.assert_allclose(PB * mine, reference, rtol=5e-6, atol=0.0, err_msg=name)
    spline = CubicSpline(np.log(X), np.log(np.asarray(average(params, GOLDEN_SM))))
    for x in (20.0, 25.0):
        mine = 0.5 * PB * np.exp(spline(np.log(x)))
        assert mine == pytest.approx(entry[f"v_sigma_x{x:.0f}"], rel=1e-4)


GAMMA = np.zeros((4, 4, 4), complex)
GAMMA[0] = np.diag([1, 1, -1, -1])
for _i, _sigma in enumerate(([[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]])):
    GAMMA[_i + 1, :2, 2:], GAMMA[_i + 1, 2:, :2] = _sigma, -np.array(_sigma)
GAMMA5 = 1j * GAMMA[0] @ GAMMA[1] @ GAMMA[2] @ GAMMA[3]
METRIC = np.diag([1.0, -1.0, -1.0, -1.0])


def slash(p):
    return np.einsum("m,mn,nab->ab", p, METRIC, GAMMA)


def spinors(p, m, sign):
    """(4, 2): u (sign 1) or v (sign -1) of two spin states; sums to slash(p) + sign m."""
    rest = np.eye(4)[:, :2] if sign > 0 else np.eye(4)[:, 2:]
    return (slash(p) + sign * m * np.eye(4)) @ rest * (sign / math.sqrt(p[0] + m))


def bar(spinor):
    return spinor.conj().T @ GAMMA[0]


def momenta(s, m, m_final, cos):
    """Four-momenta of chi, chibar and of the two final particles."""
    e, p = 0.5 * math.sqrt(s), math.sqrt(0.25 * s - m**2)
    k = math.sqrt(0.25 * s - m_final**2)
    n = np.array([math.sqrt(1.0 - cos**2), 0.0, cos])
    beam = np.array([0.0, 0.0, 1.0])
    pair = [np.array([e, *(p * beam)]), np.array([e, *(-p * beam)])]
    return [*pair, np.array([e, *(k * n)]), np.array([e, *(-k * n)])], p, k


def polarisations(k, m):
    """Three real vectors orthogonal to k with square -1."""
    size = np.linalg.norm(k[1:])
    n = k[1:] / size
    first = np.cross(n, [0.0, 1.0, 0.0])
    first /= np.linalg.norm(first)
    return [
        np.array([0.0, *first]),
        np.array([0.0, *np.cross(n, first)]),
        np.array([size / m, *(k[0] / m * n)]),
    ]


def averaged(squared, s, m, m_final):
    """sigma from the spin-averaged squared amplitude: k/(16 pi s P) times its mean over cos."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    total = 0.0
    for cos, weight in zip(nodes, weights, strict=True):
        vectors, p, k = momenta(s, m, m_final, cos)
        total += 0.5 * weight * 0.25 * squared(vectors)
    return total * k / (16.0 * math.pi * s * p)


CASES = [
    (0.02, 0.0115, 2.02),
    (0.3, 0.05, 2.5),
    (0.3, 0.5, 6.0),
    (1.9, 0.2, 9.0),
    (0.012, 0.0115, 2.2),
]


@pytest.mark.parametrize(("m", "m_zp", "ratio"), CASES)
def test_fermion_cross_sections_from_explicit_spinors(m, m_zp, ratio):
    """No traces, no formula: spinors, polarisation vectors and an integral over the angle."""
    g, q = 0.3, 0.7
    point, widths = setup(ZpFermionParameters(m_zp, g, m, q), GOLDEN_SM)
    s = (ratio * m) ** 2
    ours = sigma_by_family(fermion_channels(point, widths, "dispersive"), m, np.array([s]))

    def to_zpzp(vectors):
        p1, p2, k1, k2 = vectors
        u, v = spinors(p1, m, 1), spinors(p2, m, -1)
        t, w = p1 - k1, p1 - k2
        props = [(slash(d) + m * np.eye(4)) / (d @ METRIC @ d - m**2) for d in (t, w)]
        total = 0.0
        for e1, e2 in itertools.product(polarisations(k1, m_zp), polarisations(k2, m_zp)):
            middle = slash(e2) @ props[0] @ slash(e1) + slash(e1) @ props[1] @ slash(e2)
            total += np.sum(np.abs(bar(v) @ middle @ u) ** 2)
        return 0.5 * (g * q) ** 4 * total

    def to_fermions(m_f, vertex):
        propagator = abs(1.0 / complex(s - m_zp**2, m_zp * float(widths.zp.total))) ** 2

        def squared(vectors):
            p1, p2, k1, k2 = vectors
            dark = np.einsum("ai,mij,jb->mab", bar(spinors(p2, m, -1)), GAMMA, spinors(p1, m, 1))
            light = np.einsum(
                "ai,mij,jk,kb->mab", bar(spinors(k1, m_f, 1)), GAMMA, vertex, spinors(k2, m_f, -1)
            )
            amplitude = np.einsum("mab,mn,ncd->abcd", dark, METRIC, light)
            return g**4 * q**2 * propagator * np.sum(np.abs(amplitude) ** 2)

        return squared

    if s > 4.0 * m_zp**2:
        assert float(ours["zpzp"][0, 0]) == pytest.approx(averaged(to_zpzp, s, m, m_zp), rel=1e-6)
    left = 0.5 * (np.eye(4) - GAMMA5)
    neutrinos = 2.0 * averaged(to_fermions(0.0, left), s, m, 0.0)
    assert float(ours["vector"][0, 0]) == pytest.approx(neutrinos, rel=1e-6)
    for row, m_f in ((2, GOLDEN_SM.m_mu), (3, GOLDEN_SM.m_tau)):
        if s > 4.0 * m_f**2:
            expected = averaged(to_fermions(m_f, np.eye(4)), s, m, m_f)
            assert float(ours["vector"][row, 0]) == pytest.approx(expected, rel=1e-6)
        else:
            assert float(ours["vector"][row, 0]) == 0.0


def test_zp_decay_to_the_fermion_from_explicit_spinors():
    m, m_zp, coupling = 0.02, 0.0501, 0.37
    e = 0.5 * m_zp
    k = math.sqrt(e**2 - m**2)
    u = spinors(np.array([e, 0.0, 0.0, k]), m, 1)
    v = spinors(np.array([e, 0.0, 0.0, -k]), m, -1)
    vectors = np.einsum("ai,mij,jb->mab", bar(u), GAMMA, v)
    squared = np.sum(np.abs(vectors[1:]) ** 2) / 3.0
    expected = coupling**2 * squared * k / (8.0 * math.pi * m_zp**2)
    ours = build_widths(build_point(ZpFermionParameters(m_zp, coupling, m, 1.0), SM)).zp.xx
    assert float(ours) == pytest.approx(expected, rel=1e-12)
    closed = ZpFermionParameters(m_zp, coupling, 0.51 * m_zp, 1.0)
    assert float(build_widths(build_point(closed, SM)).zp.xx) == 0.0


def test_fermions_annihilate_in_the_s_wave_scalars_to_leptons_in_the_p_wave():
    g, m_zp, m = 5e-4, 0.02, 0.03
    fermion = ZpFermionParameters(m_zp, g, m, 0.8)
    point, widths = setup(fermion, GOLDEN_SM)
    rest = annihilation(point, widths, velocities=(RELATIVE_VELOCITY,)).at_velocity[0]
    r, d2 = (m_zp / m) ** 2, 1.0 / (4.0 * m**2 - m_zp**2) ** 2
    zpzp = (g * 0.8) ** 4 * (1.0 - r) ** 1.5 / (16.0 * math.pi * m**2 * (1.0 - 0.5 * r) ** 2)
    assert float(rest["zpzp"][0]) == pytest.approx(zpzp, rel=1e-10)
    assert float(rest["vector"][0]) == pytest.approx(g**4 * 0.8**2 * m**2 / math.pi * d2, rel=1e-10)
    scalar, widths = setup(ZpScalarParameters(m_zp, g, m, 0.8), GOLDEN_SM)
    slow = annihilation(scalar, widths, velocities=(1e-3,)).at_velocity[0]
    slower = annihilation(scalar, widths, velocities=(1e-4,)).at_velocity[0]
    assert float(slow["vector"][0] / slower["vector"][0]) == pytest.approx(100.0, rel=1e-4)
    assert float(slow["zpzp"][0] / slower["zpzp"][0]) == pytest.approx(1.0, rel=1e-4)


def test_cmb_sees_the_fermion_through_its_charged_final_states():
    """Below the muon: e+ e- by kinetic mixing, directly and from Z' decays, is all that shows."""
    point, widths = setup(ZpFermionParameters(0.0115, 5e-4, 0.05, 1.0))
    found = cmb_annihilation(point, widths)
    rest = annihilation(point, widths, velocities=(RELATIVE_VELOCITY,)).at_velocity[0]
    total = sum(float(jnp.sum(v)) for v in rest.values())
    assert float(found.sigmav_cm3_s) == pytest.approx(0.5 * GEV_INV2_TO_CM3_S * total, rel=1e-12)
    share = float(found.p_ann_cm3_s_gev) * 0.05 / float(found.sigmav_cm3_s)
    assert 0.0 < share < 2.0 * float(widths.zp.ee / widths.zp.total)
    # Above it the leptons are a third of the pairs through the Z', and the CMB sees them.
    point, widths = setup(ZpFermionParameters(0.0115, 5e-4, 1.0, 1.0))
    found = cmb_annihilation(point, widths)
    share = float(found.p_ann_cm3_s_gev) * 1.0 / float(found.sigmav_cm3_s)
    assert 1e-3 < share < 0.5


@pytest.mark.parametrize(
    "values", [(0.0115, 5e-4, 0.00381, 1.0), (0.3, 3e-3, 1.2, 1.7), (0.1, 1e-3, 0.0497, 0.3)]
)
def test_zp_scalar_is_the_decoupling_limit_of_the_dark_higgs_model(values):
    """The same numbers from all channels of the dark-Higgs model, far out in parameter space."""
    params = ZpScalarParameters(*values)
    m_zp, g_x, m_x, q_x = values
    far = Parameters(m_zp, g_x, 1e-12, m_x, 1e3, 0.4, 1e-14, q_x)
    ours = setup(params)
    assert float(omega(params)) == pytest.approx(float(omega(far)), rel=1e-9)
    assert float(omega(params)) == pytest.approx(float(omega(params.as_dark_higgs())), rel=1e-9)
    theirs = setup(far)
    assert float(ours[1].zp.total) == float(theirs[1].zp.total)
    mine, other = (cmb_annihilation(*pair) for pair in (ours, theirs))
    assert float(mine.p_ann_cm3_s_gev) == pytest.approx(float(other.p_ann_cm3_s_gev), rel=1e-9)


@pytest.mark.parametrize("cls", MODELS)
def test_benchmark_has_the_relic_density(cls):
    cls.benchmark().validate()
    assert float(omega(cls.benchmark())) == pytest.approx(0.12, rel=1e-6)
    for info in cls.table:
        assert info.prior[0] <= getattr(cls.benchmark(), info.name) <= info.prior[1]


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("m_zp", [0.005, 0.0115, 0.05])
def test_the_relic_density_asks_for_the_resonance(cls, m_zp):
    """At g_x = 5e-4, which g-2 wants, and charge 1: Omega h2 <= 0.12 only for m_zp close to 2 m."""
    ratio = np.geomspace(0.1, 100.0, 300)
    batch = cls(m_zp, 5e-4, jnp.asarray(ratio * m_zp), 1.0)
    axes = cls(*(0 if name == MASS[cls] else None for name in cls.names()))
    found = np.asarray(jax.vmap(omega, in_axes=(axes,))(batch))
    enough = ratio[found <= 0.12]
    assert 0.3 < enough.min() and enough.max() < 0.55
    assert 0.45 < enough.max()


POINTS = [
    (0.0115, 5e-4, 0.0038, 1.0),
    (0.0115, 5e-4, 0.0115 / 2 * 1.0001, 1.0),
    (0.2, 2e-3, 0.0999, 0.5),
    (0.02, 3e-3, 0.0201, 1.5),
    (0.3, 5e-3, 0.5, 1.0),
    (0.05, 1e-3, 0.1062, 1.0),
]


@pytest.mark.parametrize("cls", MODELS)
def test_gradients_of_the_relic_density(cls):
    """Against central differences, near poles and thresholds."""
    log_points = jnp.log(jnp.asarray(POINTS))

    def log_omega(v):
        return jnp.log(omega_h2(*setup(cls.from_vector(jnp.exp(v)))))

    gradient = jax.jit(jax.vmap(jax.grad(log_omega)))(log_points)
    value = jax.jit(jax.vmap(log_omega))
    for i in range(4):
        step = 1e-6 * np.eye(4)[i]
        difference = (value(log_points + step) - value(log_points - step)) / 2e-6
        # The pole of the second point is 1e-4 of its mass away: differences cost digits there.
        np.testing.assert_allclose(gradient[:, i], difference, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("cls", MODELS)
def test_finite_on_thresholds_and_poles(cls):
    """Z'Z' threshold, pole at rest, muon threshold, all exactly; value and gradient."""
    rows = [(0.02, 1e-3, 0.02, 1.0), (0.02, 1e-3, 0.01, 1.0), (0.02, 1e-3, float(SM.m_mu), 1.0)]

    def log_omega(v):
        return jnp.log(omega_h2(*setup(cls.from_vector(v))))

    found = jax.jit(jax.vmap(jax.value_and_grad(log_omega)))(jnp.asarray(rows))
    assert all(np.all(np.isfinite(part)) for part in found)
