"""X X* cross sections: golden tables, explicit polarisation sums, widths, limits, symmetries."""

import dataclasses
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.annihilation import cross_sections
from lmltdm_jax.parameters import Parameters
from lmltdm_jax.widths import H2Widths, build_widths

GOLDEN = json.loads((Path(__file__).parent / "golden" / "relic.json").read_text())
POINTS, CONSTANTS = GOLDEN["points"], GOLDEN["meta"]["constants"]
COLUMNS = {name: i for i, name in enumerate(GOLDEN["meta"]["columns"])}
# alpha = 0 switches off the kinetic mixing, which the reference does not have.
GOLDEN_SM = StandardModel.load("talk2024").replace(
    alpha=0.0,
    m_e=CONSTANTS["Me"],
    m_mu=CONSTANTS["Mm"],
    m_tau=CONSTANTS["Ml"],
    m_s=CONSTANTS["Ms"],
    m_c=CONSTANTS["Mc"],
    m_b=CONSTANTS["Mb"],
    v_h=CONSTANTS["vH"],
    m_h2=CONSTANTS["MH2"],
)
SM = StandardModel.load("talk2024")
HEAVY = Parameters(0.1, 5e-3, 6e-3, 2.0, 0.5, 0.4, 0.01)
"""Z'Z', Z'H1, H1H1 open at rest, no pole nearby."""
KEYS = ("MZp", "gX", "sTh", "MX", "MH1", "QPhi", "lPX", "QX")
GOLDEN_VECTORS = np.array([[p["inputs"][k] for k in KEYS] for p in POINTS])


def golden_setup(vector):
    """Point and widths of the reference: free quarks in the H1 width, fixed H2 width."""
    sm = GOLDEN_SM
    point = build_point(Parameters.from_vector(vector), sm)
    widths = build_widths(point)
    m = point.params.m_h1
    quarks = 0.0
    for m_q in (sm.m_s, sm.m_c, sm.m_b):
        beta2 = jnp.maximum(1.0 - (2.0 * m_q / m) ** 2, 0.0)
        quarks += 3.0 * (point.sin_theta * m_q / sm.v_h) ** 2 * m * beta2**1.5 / (8.0 * math.pi)
    h2 = H2Widths(*(jnp.asarray(w) for w in (CONSTANTS["wH2"], 0.0, 0.0, 0.0, 0.0)))
    return point, dataclasses.replace(
        widths, h1=dataclasses.replace(widths.h1, hadrons=quarks), h2=h2
    )


@jax.jit
@jax.vmap
def _run(vector, s, v_h):
    point = build_point(Parameters.from_vector(vector), SM.replace(v_h=v_h))
    widths = build_widths(point)
    return cross_sections(point, widths, s[None]), point, widths


def run_all(sample, s, v_h=SM.v_h):
    """(cross sections, points, widths) of (points, 8) parameters at (points, energies) s.

    Real inputs, dispersive hadrons; one flat padded batch, so that it is compiled once.
    """
    s = np.asarray(s)
    flat = np.repeat(sample, s.shape[1], axis=0)
    pad = 128 - len(flat)
    flat = np.pad(flat, ((0, pad), (0, 0)), "edge")
    result = _run(flat, np.pad(s.ravel(), (0, pad), "edge"), np.full(128, v_h))

    def reshape(leaf):
        leaf = np.moveaxis(np.asarray(leaf)[: s.size].reshape(*s.shape, -1), 1, -1)
        return leaf[:, 0] if leaf.shape[1] == 1 else leaf

    return jax.tree.map(reshape, result)


def sigma(sample, s, v_h=SM.v_h):
    return run_all(sample, s, v_h)[0]


def vectors(*points):
    return np.array([np.asarray(p.to_vector()) for p in points])


def s_of(m_x, v):
    """s at P = m_x v/2."""
    return 4.0 * m_x**2 * (1.0 + 0.25 * np.asarray(v) ** 2)


@pytest.fixture(scope="module")
def golden_run():
    s = np.array([p["sqrt_s"] for p in POINTS]) ** 2

    @jax.jit
    @jax.vmap
    def run(vector, s):
        point, widths = golden_setup(vector)
        sections = cross_sections(point, widths, s, "free_quarks")
        return sections, widths.zp.total, widths.h1.total

    return run(GOLDEN_VECTORS, s)


def test_widths_agree_with_the_reference(golden_run):
    """2e-7: H1H1 and Z' widths just above threshold carry the reference's phase-space digits."""
    _, zp, h1 = golden_run
    np.testing.assert_allclose(zp, [p["width_zp"] for p in POINTS], rtol=3e-7)
    np.testing.assert_allclose(h1, [p["width_h1"] for p in POINTS], rtol=3e-7)


# The reference integrates t- and u-channel angles numerically (5e-5 in Z'Z' at 10 times
# threshold); pure s-channel entries have its 10 to 11 printed digits, lepton sums 1e-6.
@pytest.mark.parametrize(
    ("column", "tolerance"),
    [
        ("ZpZp", 5e-5),
        ("ZpH1", 5e-6),
        ("H1H1", 5e-6),
        ("mumu", 2e-6),
        ("tautau", 1e-9),
        ("ee", 5e-7),
        ("nunu", 1e-9),
        ("ss", 1e-9),
        ("cc", 1e-9),
        ("bb", 1e-9),
    ],
)
def test_every_channel_agrees_with_the_reference(golden_run, column, tolerance):
    """31 points, 8 energies from 1.0005 to 10 times threshold; zero where the reference is zero."""
    run, _, _ = golden_run
    ours = {
        "ZpZp": run.zpzp,
        "ZpH1": run.zp_higgs[:, 0],
        "H1H1": run.higgs_pairs[:, 0],
        "mumu": run.vector_leptons[:, 1] + run.scalar_fermions[:, 1],
        "tautau": run.vector_leptons[:, 2] + run.scalar_fermions[:, 2],
        "ee": run.scalar_fermions[:, 0],
        "nunu": run.nunu,
        "ss": run.scalar_fermions[:, 3],
        "cc": run.scalar_fermions[:, 4],
        "bb": run.scalar_fermions[:, 5],
    }[column]
    table = np.array([p["sigma"] for p in POINTS])
    if column == "nunu":
        theirs = table[..., COLUMNS["numu"]] + table[..., COLUMNS["nutau"]]
    else:
        theirs = table[..., COLUMNS[column]]
    ours = np.asarray(ours) * GOLDEN["meta"]["pb_per_gev2"]
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=0.0)


# --- explicit amplitudes: derivatives of L from the Lagrangian, M = -V1 V2/(s - m^2) for scalar
# exchange and + V1.V2/(s - m^2) for vector exchange; every spin state and angle by number ---

METRIC = np.diag([1.0, -1.0, -1.0, -1.0])
ANGLES, ANGLE_WEIGHTS = np.polynomial.legendre.leggauss(200)


def _gammas():
    pauli = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    zero, one = np.zeros((2, 2)), np.eye(2)
    spatial = [np.block([[zero, p], [-p, zero]]) for p in pauli]
    return np.array([np.block([[one, zero], [zero, -one]]), *spatial])


GAMMA = _gammas()


def dot(a, b):
    return np.einsum("...m,mn,...n->...", a, METRIC, b)


def momenta(s, m_x, m_a, m_b):
    """p1, p2, k1, k2 over all angles, and k/P."""
    p = math.sqrt(0.25 * s - m_x**2)
    k2 = (s - (m_a + m_b) ** 2) * (s - (m_a - m_b) ** 2) / (4.0 * s)
    k, e = math.sqrt(k2), 0.5 * math.sqrt(s)
    sine = np.sqrt(1.0 - ANGLES**2)
    direction = np.stack([sine, 0.0 * sine, ANGLES], axis=-1)
    p1, p2 = np.array([e, 0.0, 0.0, p]), np.array([e, 0.0, 0.0, -p])
    ones = np.ones((ANGLES.size, 1))
    k1 = np.concatenate([math.sqrt(k2 + m_a**2) * ones, k * direction], axis=-1)
    return p1, p2, k1, p1 + p2 - k1, k / p


def total(squared, s, ratio, identical=False):
    """sigma = k/(16 pi s P) <sum |M|^2>."""
    average = 0.5 * np.sum(ANGLE_WEIGHTS * squared)
    return average * ratio / (16.0 * math.pi * s) * (0.5 if identical else 1.0)


def polarisations(k, mass):
    """Three real vectors (..., 3, 4) orthogonal to k, with square -1."""
    e, vec = k[..., 0], k[..., 1:]
    size = np.linalg.norm(vec, axis=-1)
    n = vec / size[:, None]
    across = np.stack([n[:, 2], 0.0 * size, -n[:, 0]], axis=-1)
    normal = np.broadcast_to([0.0, 1.0, 0.0], n.shape)
    longitudinal = np.concatenate([(size / mass)[:, None], (e / mass)[:, None] * n], axis=-1)
    transverse = [np.concatenate([0.0 * e[:, None], t], axis=-1) for t in (across, normal)]
    return np.stack([*transverse, longitudinal], axis=1)


def explicit(point, widths, s):
    """sigma of mu mu, Z'Z', Z'H1, H1H1 (0 below threshold)."""
    p = point.params
    c, s_th = float(point.cos_theta), float(point.sin_theta)
    g = np.array([float(point.g_h1_xx), float(point.g_h2_xx)])
    masses = np.array([p.m_h1, SM.m_h2])
    h2 = widths.h2
    gammas = np.array([float(widths.h1.total), float(h2.sm + h2.h1h1 + h2.zpzp + h2.xx)])
    d = 1.0 / (s - masses**2 + 1j * masses * gammas)
    d_zp = 1.0 / (s - p.m_zp**2 + 1j * p.m_zp * float(widths.zp.total))
    gauge, z = p.g_x * p.q_x, 2.0 * p.m_zp**2 * np.array([c, s_th]) / float(point.v_phi)
    out = np.zeros(4)
    root = math.sqrt(s)
    if root > 2.0 * SM.m_mu:
        p1, p2, k1, k2, ratio = momenta(s, p.m_x, SM.m_mu, SM.m_mu)
        yukawa = SM.m_mu / SM.v_h * np.array([s_th, -c])
        scalar = -np.sum(g * yukawa * d)
        slash = [np.einsum("am,mn,nij->aij", k, METRIC, GAMMA) for k in (k1, k2)]
        mass = SM.m_mu * np.eye(4)
        vertex = np.einsum("m,mn,nij->ij", p1 - p2, METRIC, GAMMA)
        vertex = -p.g_x * gauge * d_zp * vertex + scalar * np.eye(4)
        bar = GAMMA[0] @ vertex.conj().T @ GAMMA[0]
        trace = np.einsum("aij,jk,akl,li->a", slash[0] + mass, vertex, slash[1] - mass, bar)
        out[0] = total(trace.real, s, ratio)
    if root > 2.0 * p.m_zp:
        p1, p2, k1, k2, ratio = momenta(s, p.m_x, p.m_zp, p.m_zp)
        e1, e2 = polarisations(k1, p.m_zp), polarisations(k2, p.m_zp)
        t, u = (dot(q - k1, q - k1) - p.m_x**2 for q in (p1, p2))
        pair = np.einsum("aim,mn,ajn->aij", e1, METRIC, e2)
        amplitude = (2.0 * gauge**2 - np.sum(g * z * d)) * pair
        for first, second, propagator in ((p1, p2, t), (p2, p1, u)):
            product = dot(e1, first)[:, :, None] * dot(e2, second)[:, None, :]
            amplitude = amplitude + 4.0 * gauge**2 * product / propagator[:, None, None]
        out[1] = total(np.sum(np.abs(amplitude) ** 2, axis=(1, 2)), s, ratio, identical=True)
    if root > p.m_zp + p.m_h1:
        p1, p2, k1, k2, ratio = momenta(s, p.m_x, p.m_zp, p.m_h1)
        e1 = polarisations(k1, p.m_zp)
        t, u = (dot(q - k1, q - k1)[:, None] - p.m_x**2 for q in (p1, p2))
        amplitude = -2.0 * gauge * g[0] * (dot(e1, p1) / t - dot(e1, p2) / u)
        amplitude = amplitude + gauge * z[0] * dot(e1, p1 - p2) * d_zp
        out[2] = total(np.sum(np.abs(amplitude) ** 2, axis=1), s, ratio)
    if root > 2.0 * p.m_h1:
        p1, p2, k1, k2, ratio = momenta(s, p.m_x, p.m_h1, p.m_h1)
        t, u = (dot(q - k1, q - k1) - p.m_x**2 for q in (p1, p2))
        trilinear = np.array([float(point.c111), float(point.c112)])
        amplitude = -p.lambda_phix * c**2 - np.sum(g * trilinear * d)
        amplitude = amplitude - g[0] ** 2 * (1.0 / t + 1.0 / u)
        out[3] = total(np.abs(amplitude) ** 2, s, ratio, identical=True)
    return out


def test_sums_over_explicit_spin_states(prior_points):
    """40 prior points at 3 energies: Dirac traces and 9 Z'Z' polarisation states, by number.

    1e-6: the explicit longitudinal states lose (E/m_zp)^2 digits, so E/m_zp stays below 300; the
    code simplifies k.M with (s - m_zp^2) D = 1, good to Gamma_zp/m_zp < 1e-5.
    """
    sample = np.asarray(prior_points(400, 21).to_vector())
    sample = sample[sample[:, 3] < 60.0 * sample[:, 0]][:40]
    factors = np.array([1.02, 1.4, 2.5])
    s = 4.0 * sample[:, 3:4] ** 2 * factors**2
    ours, points, widths = run_all(sample, s)
    ours = np.stack(
        [
            ours.vector_leptons[:, 1] + ours.scalar_fermions[:, 1],
            ours.zpzp,
            ours.zp_higgs[:, 0],
            ours.higgs_pairs[:, 0],
        ],
        axis=-1,
    )
    couplings = [jax.tree.map(lambda leaf, i=i: leaf[i, 0], (points, widths)) for i in range(40)]
    rows = [[explicit(*c, e) for e in row] for c, row in zip(couplings, s, strict=True)]
    theirs = np.array(rows)
    assert np.all(np.sum(theirs > 0.0, axis=(0, 1)) > 20)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=0.0)


def narrow(m_zp, m_h1, **changes):
    base = Parameters(m_zp, 1e-4, 1e-3, 0.2, m_h1, 0.1, 1e-6)
    return base.replace(**changes)


def test_peak_cross_sections_are_the_unitarity_ones():
    """On a pole sigma_i = 4 pi (2J + 1) B_xx B_i/P^2, with the widths of their own module."""
    points = [narrow(0.45, 3.0, q_x=0.01), narrow(0.05, 1.3), narrow(3.0, 1.3)]
    peaks = np.array([0.45, 1.3, 1.3])
    run, _, all_widths = run_all(vectors(*points), (peaks**2)[:, None])
    for i, (params, peak) in enumerate(zip(points, peaks, strict=True)):
        widths = jax.tree.map(lambda leaf, i=i: leaf[i, 0], all_widths)
        momentum2 = 0.25 * peak**2 - params.m_x**2
        if i == 0:
            zp = widths.zp
            expected = [zp.nunu, zp.ee, zp.mumu]
            ours = [run.nunu[i, 0], *run.vector_leptons[i, :2, 0]]
            spin, xx, width = 3.0, zp.xx, zp.total
        else:
            h1 = widths.h1
            expected = [h1.ee, h1.mumu, h1.hadrons] + ([h1.zpzp] if i == 1 else [])
            ours = [*run.scalar_fermions[i, [0, 1, 3], 0], run.zpzp[i, 0]]
            spin, xx, width = 1.0, h1.xx, h1.total
        factor = 4.0 * math.pi * spin / momentum2 * float(xx / width**2)
        theirs = factor * np.array([float(w) for w in expected])
        # Non-resonant parts and rounding of s - m^2 against m Gamma.
        np.testing.assert_allclose(np.array(ours)[: len(theirs)], theirs, rtol=2e-4)


def test_goldstone_limit_of_zp_pairs():
    """g_x -> 0 at fixed v_phi: sigma(Z'Z') -> that of two massless scalars, M = lambda s D.

    It does not vanish, and the correction falls like m_zp^2.
    """
    v_phi, params = 50.0, Parameters(0.1, 1.0, 6e-3, 0.3, 2.0, 0.4, 0.01)
    m_zp = np.array([1e-3, 1e-4, 1e-5])
    points = [params.replace(m_zp=m, g_x=m / (0.4 * v_phi)) for m in m_zp]
    s = np.array([0.5, 1.0, 9.0])
    run, point, widths = run_all(vectors(*points), np.tile(s, (3, 1)))
    ours, h2 = run.zpzp, widths.h2
    d1 = 1.0 / (s - 4.0 + 2j * widths.h1.total)
    d2 = 1.0 / (s - SM.m_h2**2 + 1j * SM.m_h2 * (h2.sm + h2.h1h1 + h2.zpzp + h2.xx))
    mixed = point.cos_theta**2 * d1 + point.sin_theta**2 * d2
    beta_x = np.sqrt(1.0 - 4.0 * 0.3**2 / s)
    limit = np.abs(0.01 * s * mixed) ** 2 / (32.0 * math.pi * s * beta_x)
    error = np.abs(ours / limit - 1.0)
    assert np.all(error[2] < 1e-8) and np.all(error[0] < 1e-3)


def test_thresholds():
    """Zero below, the right power of k just above: k (s-wave), k^3 (scalar -> f f)."""
    base = Parameters(0.4, 5e-3, 6e-3, 0.3, 0.5, 0.4, 0.01)
    expected = {
        "zpzp": (0.8, 0.5, lambda r: r.zpzp),
        "h1h1": (1.0, 0.5, lambda r: r.higgs_pairs[:, 0]),
        "zph1": (0.9, 0.5, lambda r: r.zp_higgs[:, 0]),
        "tautau via Z'": (2 * SM.m_tau, 0.5, lambda r: r.vector_leptons[:, 2]),
        "tautau via H": (2 * SM.m_tau, 1.5, lambda r: r.scalar_fermions[:, 2]),
        "z'h2": (0.4 + SM.m_h2, 0.5, lambda r: r.zp_higgs[:, 1]),
    }
    steps = np.array([-1e-6, 1e-7, 1e-6])
    for name, (root, power, pick) in expected.items():
        s = root**2 * (1.0 + steps)
        below, near, far = np.asarray(pick(sigma(vectors(base), s[None])))[0]
        assert below == 0.0 and near > 0.0, name
        assert math.log10(far / near) == pytest.approx(power, abs=1e-4), name


def test_partial_waves():
    """sigma v = a + b v^2 with a = 0 for Z'H and for f f through the Z', a > 0 for the others."""
    v = np.array([1e-3, 2e-3])
    s = s_of(2.0, v)
    run = sigma(vectors(HEAVY), s[None])
    flux = 2.0 * 0.5 * 2.0 * v / (0.5 * np.sqrt(s))
    waves = {
        0: (run.zpzp, run.higgs_pairs[:, 0], run.scalar_fermions[:, 2]),
        2: (run.zp_higgs[:, 0], run.nunu, run.vector_leptons[:, 1]),
    }
    for power, channels in waves.items():
        for channel in channels:
            low, high = np.asarray(channel)[0] * flux
            assert math.log2(high / low) == pytest.approx(power, abs=1e-4)


def changed(**changes):
    return sigma(vectors(HEAVY.replace(**changes)), s_of(2.0, [[0.3, 1.0, 4.0]]))


@pytest.mark.parametrize("image", ["q_phi", "q_x"])
def test_charge_conjugation(image):
    """q_phi -> -q_phi (Phi <-> Phi*) and q_x -> -q_x (X <-> X*) change nothing."""
    conjugate = changed(**{image: -getattr(HEAVY, image)})
    jax.tree.map(np.testing.assert_array_equal, changed(), conjugate)


def test_sign_of_the_portal_coupling():
    """Pairs through the Higgses are even in lambda; Z'Z' is even only without its gauge part."""
    image = {"lambda_phix": -HEAVY.lambda_phix}
    even, odd = changed(), changed(**image)
    np.testing.assert_allclose(even.scalar_fermions, odd.scalar_fermions, rtol=1e-14)
    neutral = changed(q_x=0.0)
    np.testing.assert_allclose(neutral.zpzp, changed(q_x=0.0, **image).zpzp, rtol=1e-14)
    interference = np.asarray(even.zpzp - odd.zpzp) / np.asarray(even.zpzp)
    assert np.all(np.abs(interference) > 1e-6)
    assert not np.any(neutral.nunu) and not np.any(neutral.zp_higgs)


def test_sign_of_the_mixing_angle():
    """theta -> -theta with v_h -> -v_h is the field redefinition h -> -h: nothing changes."""
    s = s_of(2.0, [[0.3, 1.0, 90.0]])
    one = sigma(vectors(HEAVY), s)
    other = sigma(vectors(HEAVY.replace(sin_theta=-HEAVY.sin_theta)), s, -SM.v_h)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), one, other)
