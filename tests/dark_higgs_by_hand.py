"""The posterior of the dark Higgs by hand, part by part, and its modes."""

from __future__ import annotations

import numpy as np
from lmltdm_jax.inference.target import Target
from plain_importance import OF_H1, OF_ZP, Branch, ByHand

RESONANCE, TAIL = (1.95, 4.5), 1.3
"""m_zp/m_x near the pole of the Z'; the largest with annihilation below its threshold"""
FURTHEST = (1.35, 5.0)
"""m_zp/m_x where the search for the shell ends, past that pole and below it"""
NEAR_POLE = -4.0
"""log10 of the least distance of m_x from the pole of H1 [dex] that is sought"""
TWO = np.log10(2.0)


def parts(target: Target, x: np.ndarray) -> dict[str, np.ndarray]:
    """bool (n,) by name, each point in one: near the pole of the Z'; below its mass; X heavier than
    it, above and below the pole of H1; elsewhere."""
    m_zp, m_x, m_h1 = _masses(target, x)
    ratio = 10.0 ** (m_zp - m_x)
    heavy, above = ratio < 1.0, m_h1 > m_x + TWO
    found = {
        "resonance of the Z'": (ratio > RESONANCE[0]) & (ratio < RESONANCE[1]),
        "below the mass of the Z'": (ratio >= 1.0) & (ratio < TAIL),
        "above the pole of H1": heavy & above,
        "below the pole of H1": heavy & ~above,
    }
    return found | {"elsewhere": ~np.any(list(found.values()), axis=0)}


def modes(target: Target, x: np.ndarray) -> dict[str, np.ndarray]:
    """Regions whose share of the posterior is compared, bool (n,) by name."""
    sm, (_, m_x, m_h1) = target.likelihood.sm, _masses(target, x)
    found = parts(target, x)
    resonance = found["resonance of the Z'"]
    return found | {
        "two-body lobe": 10.0**m_h1 < float(sm.m_bplus - sm.m_kplus),
        "resonance of the Z' at the end of the prior": resonance & (m_x < np.log10(5.4e-3)),
    }


def draw_by_hand(target: Target, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Draws and ln weights of each part: see :func:`plain_importance.weighted`."""
    found = {}
    for number, (name, (n, draw)) in enumerate(_DRAWN.items()):
        hand = ByHand(target, 10 * seed + number, n)
        hand.on_grid(("m_zp", "g_x"), OF_ZP)
        draw(hand)
        found[name] = hand.x, hand.log_weights(parts(target, hand.x)[name])
    return found


def _masses(target: Target, x: np.ndarray) -> list[np.ndarray]:
    names = target.coordinates.prior.names
    return [x[:, names.index(name)] for name in ("m_zp", "m_x", "m_h1")]


def _resonance(hand: ByHand) -> None:
    hand.on_grid(("m_h1", "sin_theta"), OF_H1)
    pole = hand["m_zp"] - TWO
    ends = [abs(np.log10(2.0 / ratio)) for ratio in FURTHEST]
    branches = [Branch(pole, sign, end) for sign, end in zip((1.0, -1.0), ends, strict=True)]
    hand.where_relic_density_is_right("m_x", (0.06, 0.04, 0.9), branches)


def _forbidden(hand: ByHand) -> None:
    hand.on_grid(("m_h1", "sin_theta"), OF_H1)
    branch = Branch(hand["m_zp"], -1.0, np.log10(TAIL))
    hand.where_relic_density_is_right("m_x", (0.1, 0.9), [branch])


def _above(hand: ByHand) -> None:
    hand.on_grid(("m_h1", "sin_theta"), OF_H1)
    pole = hand["m_h1"] - TWO
    branch = Branch(pole, -1.0, pole - np.maximum(hand["m_zp"], hand.low[hand.index("m_x")]))
    hand.where_relic_density_is_right("m_x", (0.1, 0.9), [branch])


def _below(hand: ByHand) -> None:
    """m_x evenly, or evenly in the logarithm of the distance from the pole; then the coupling."""
    hand.on_grid(("m_h1", "sin_theta"), OF_H1)
    m_x, coupling = hand.index("m_x"), hand.index("lambda_phix")
    pole, high = hand["m_h1"] - TWO, hand.high[m_x]
    least = np.maximum(np.maximum(hand["m_zp"], pole), hand.low[m_x])
    size = np.maximum(high - least, 1e-9)
    furthest = np.log10(np.maximum(high - pole, 1e-3))
    even = least + size * hand.rng.uniform(size=hand.n)
    near = pole + 10.0 ** hand.rng.uniform(NEAR_POLE, furthest)

    def density(v: np.ndarray) -> list[np.ndarray]:
        away = np.maximum(v - pole, 1e-300)
        on_it = (np.log10(away) > NEAR_POLE) & (np.log10(away) < furthest)
        close = on_it / (away * np.log(10.0) * (furthest - NEAR_POLE))
        return [((v > least) & (v < least + size)) / size, close]

    hand.mixed("m_x", (0.1, 0.6, 0.3), [even, near], density)
    high, low = hand.high[coupling], hand.low[coupling]
    branch = Branch(np.full(hand.n, high), -1.0, high - low)
    hand.where_relic_density_is_right("lambda_phix", (0.1, 0.9), [branch])


def _elsewhere(hand: ByHand) -> None:
    """m_zp/m_x evenly between the tail and the resonance [dex], m_x evenly below it; then m_h1."""
    m_zp, least = hand["m_zp"], hand.low[hand.index("m_x")]
    heavy, light = (m_zp - np.log10(ratio) for ratio in (TAIL, RESONANCE[0]))
    size = np.maximum(m_zp - np.log10(RESONANCE[1]) - least, 1e-9)
    past = light + (heavy - light) * hand.rng.uniform(size=hand.n)
    below = least + size * hand.rng.uniform(size=hand.n)

    def density(v: np.ndarray) -> list[np.ndarray]:
        between = ((v > light) & (v < heavy)) / (heavy - light)
        return [between, ((v > least) & (v < least + size)) / size]

    hand.mixed("m_x", (0.1, 0.6, 0.3), [past, below], density)
    pole = hand["m_x"] + TWO
    branches = [Branch(pole, -1.0, 1.5), Branch(pole, 1.0, 1.5)]
    hand.where_relic_density_is_right("m_h1", (0.2, 0.3, 0.5), branches)


_DRAWN = {
    "resonance of the Z'": (20_000, _resonance),
    "below the mass of the Z'": (20_000, _forbidden),
    "above the pole of H1": (60_000, _above),
    "below the pole of H1": (30_000, _below),
    "elsewhere": (20_000, _elsewhere),
}
