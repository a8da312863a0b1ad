"""The draws as text for GetDist and anesthetic, in the folder ``chains`` of a run.

``lmltdm_1.txt`` and on, one file a chain in CosmoMC's format: weight 1, -ln posterior, sampled
parameters, nuisances, observables; ``lmltdm.paramnames`` has names and LaTeX, a star on what is
derived; ``lmltdm.ranges`` the ends of the prior. Warm-up is not in. ``weighted.txt`` and the two
beside it are the weighted draws in the same way, weights of sum 1.

A parameter whose prior is flat in its logarithm is a column ``log10_<name>``, not its value: both
programs smooth densities on the axes they are given, and the prior is flat on these. A nuisance is
a column ``z_<name>``, a unit normal. The posterior is the normalised density over the same axes,
so that prior and evidence fit to it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.stats import norm

from lmltdm_jax.errors import InputError

from .posterior import NUISANCE, Posterior
from .prior import Prior, is_log

FOLDER = "chains"
ROOT, WEIGHTED = "lmltdm", "weighted"


def column_names(prior: Prior) -> list[str]:
    """Of parameters and nuisances, in the order of ``prior.names``."""
    sampled = [f"log10_{i.name}" if is_log(i) else i.name for i in prior.parameters]
    return sampled + [NUISANCE + name for name in prior.nuisances]


def write(posterior: Posterior, folder: Path) -> tuple[Path, Path]:
    """The files below ``folder``; returns the roots that both programs read: ``chains/lmltdm``,
    and ``chains/weighted`` in the same folder.

    Raises:
        InputError: they cannot be written.
    """
    target = folder / FOLDER
    weighted, tables = _weighted_table(posterior), _tables(posterior)
    try:
        target.mkdir(exist_ok=True)
        for number, table in enumerate(tables, start=1):
            np.savetxt(target / f"{ROOT}_{number}.txt", table, fmt="%.10e")
        # Left by a run with more chains, they would be read as part of this one.
        number = len(tables) + 1
        while (stale := target / f"{ROOT}_{number}.txt").exists():
            stale.unlink()
            number += 1
        np.savetxt(target / f"{WEIGHTED}.txt", weighted, fmt="%.10e")
        for root in (ROOT, WEIGHTED):
            (target / f"{root}.paramnames").write_text(_paramnames(posterior), encoding="utf-8")
            (target / f"{root}.ranges").write_text(_ranges(posterior.prior), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror})") from None
    return target / ROOT, target / WEIGHTED


def _tables(posterior: Posterior) -> np.ndarray:
    """(chains, draws, columns)."""
    x = posterior.box
    log_likelihood = np.sum(list(posterior.log_likelihoods.values()), axis=0)
    columns = [np.ones(x.shape[:2]), _minus_log_posterior(posterior.prior, x, log_likelihood)]
    columns += [*np.moveaxis(x, -1, 0), *posterior.observables.values()]
    return np.stack(columns, axis=-1)


def _weighted_table(posterior: Posterior) -> np.ndarray:
    """(draws, columns)."""
    weighted, x = posterior.weighted, posterior.weighted_box
    columns = [weighted.weights]
    columns += [_minus_log_posterior(posterior.prior, x, weighted.log_likelihood)]
    return np.stack([*columns, *x.T, *weighted.observables.values()], axis=-1)


def _minus_log_posterior(prior: Prior, x: np.ndarray, log_likelihood: np.ndarray) -> np.ndarray:
    low, high = prior.box
    log_prior = norm.logpdf(x[..., len(low) :]).sum(axis=-1) - np.log(high - low).sum()
    return -(log_likelihood + log_prior)


def _paramnames(posterior: Posterior) -> str:
    prior = posterior.prior
    # Without the dollars.
    labels = [label[1:-1] for label in prior.labels]
    rows = list(zip(column_names(prior), labels, strict=True))
    for name in posterior.observables:
        escaped = name.replace("_", r"\_")
        rows.append((f"{name}*", rf"\mathrm{{{escaped}}}"))
    return "".join(f"{name}\t{label}\n" for name, label in rows)


def _ranges(prior: Prior) -> str:
    ends = [f"{low:.10g} {high:.10g}" for low, high in zip(*prior.box, strict=True)]
    # N: no end.
    ends += ["N N"] * len(prior.nuisances)
    pairs = zip(column_names(prior), ends, strict=True)
    return "".join(f"{name} {limits}\n" for name, limits in pairs)
