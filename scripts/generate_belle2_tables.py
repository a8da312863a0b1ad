"""Regenerate lmltdm_jax/data/belle2/: workspace, joint number density, fits as compact JSON.

Usage: python scripts/generate_belle2_tables.py LIKELIHOOD.json NUMBER_DENSITY.json

LIKELIHOOD.json is the published HistFactory workspace; NUMBER_DENSITY.json holds the tables
"ITA_A", "ITA_B" and "HTA" with their edges. Stops if rows of the density do not add up to the
signal templates.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jax
import numpy as np

from lmltdm_jax.likelihoods.belle2_data import belle2_model
from lmltdm_jax.likelihoods.histfactory_fit import fit

TARGET = Path(__file__).parents[1] / "lmltdm_jax" / "data" / "belle2"
CHANNELS = {"A__": "ITA_A", "B__": "ITA_B", "sgn1_had": "HTA"}
"""Beginning of the workspace's channel name: table of the number density."""
LARGEST_MISMATCH = 3e-3
# arXiv:2507.12393: rounded coefficients of the generator's Standard Model, isospin-averaged masses.
NULL_MODEL = {
    "f_plus": [0.2545, -0.71, 0.32],
    "chiral_log": 1.304,
    "g_f": 1.1663787e-5,
    "alpha_em_mz_inv": 127.952,
    "x_t": 1.468,
    "sin2_theta_w": 0.23124,
    "v_tb_v_ts_nunu": 0.04185,
    "m_b_meson": 5.279495,
    "m_kaon": 0.495644,
    "tau_b": 1.638e-12,
}


def density_of(workspace: dict, tables: dict) -> dict[str, list]:
    """Rows of the number density by channel name, checked against the signal templates."""
    density = {}
    for channel in workspace["channels"]:
        key = next((t for prefix, t in CHANNELS.items() if channel["name"].startswith(prefix)), "")
        if not key:
            continue
        signal = next(s for s in channel["samples"] if _is_signal(s))
        ratio = np.sum(tables[key], axis=1) / np.array(signal["data"])
        print(f"{channel['name']}: row sums off by {np.abs(ratio - 1).max():.1e}", file=sys.stderr)
        if np.abs(ratio - 1).max() > LARGEST_MISMATCH:
            raise SystemExit("number density and signal template disagree")
        density[channel["name"]] = tables[key]
    return density


def _is_signal(sample: dict) -> bool:
    return any(modifier["type"] == "normfactor" for modifier in sample["modifiers"])


def strength_fit(channels: str) -> dict:
    """Best strength of the Standard Model's signal, its ln L, and the nuisances there."""
    model = belle2_model(channels)
    result = jax.jit(lambda mu, start: fit(model, model.signal(mu), start, 100))
    profile = jax.jit(lambda mu, start: fit(model, model.signal(mu), start, 100).loglike)
    alpha, low, high = np.zeros(len(model.parameters)), -2.0, 12.0
    while high - low > 1e-6:
        third = (high - low) / 3.0
        if profile(low + third, alpha) < profile(high - third, alpha):
            low += third
        else:
            high -= third
        alpha = np.asarray(result(0.5 * (low + high), alpha).alpha)
    best = result(0.5 * (low + high), alpha)
    nuisances = dict(zip(model.parameters, np.round(best.alpha, 4).tolist(), strict=True))
    return {"mu": round(0.5 * (low + high), 5), "loglike": float(best.loglike), "alpha": nuisances}


def main(likelihood: Path, number_density: Path) -> None:
    workspace = json.loads(likelihood.read_text())
    tables = json.loads(number_density.read_text())
    edges = tables["q2_gen_edges_GeV2"]
    table = {
        # The first bin is the underflow q2_gen < 0.
        "edges": [edges[1], edges[-1], len(edges) - 2],
        "null_model": NULL_MODEL,
        "events": density_of(workspace, tables),
    }
    for name, content in (("workspace", workspace), ("number_density", table)):
        text = json.dumps(content, separators=(",", ":"))
        (TARGET / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    fits = {channels: strength_fit(channels) for channels in ("ita", "hta", "combined")}
    text = json.dumps(fits, separators=(",", ":"))
    (TARGET / "strength_fits.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
