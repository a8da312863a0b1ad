"""What a fit leaves, in one file: ``posterior.nc``.

Summary, report, figures and chains are made from a :class:`Posterior` alone, whether it comes from
a fit or from its file. The checkpoint is not read for them: a pickle is for whoever wrote it, and
for the version that did. So a run can be handed on without it, and nothing is compiled to look at
it. A fit stopped by Ctrl-C while sampling writes this file, too.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import h5netcdf
import numpy as np
import xarray as xr

from lmltdm_jax.errors import InputError
from lmltdm_jax.models import find_model
from lmltdm_jax.prediction import observable_columns

from .convergence import arviz
from .fit import FILE as CHECKPOINT
from .fit import Fit
from .importance import PARETO_K_MAX
from .prior import Prior, is_log
from .provenance import preset_hash, versions
from .target import Target
from .weighted import Weighted

FILE = "posterior.nc"
NUISANCE = "z_"
"""Before names of nuisances in files: kappa_sb alone is the observable, z_kappa_sb its normal."""
_PULL = "pull_"
_WEIGHTED = "weighted"
"""Group of the weighted draws."""
_OF_WEIGHTED = ("weights", "log_likelihood")
_STATISTICS = {
    "diverging": "diverging",
    "n_steps": "num_steps",
    "acceptance_rate": "acceptance",
    "energy": "energy",
}
"""ArviZ's names of the fields of :class:`nuts.Block`; ``lp`` comes with them."""


@dataclasses.dataclass(frozen=True)
class Run:
    """Numbers of a fit as a whole."""

    seed: int
    log_evidence: float
    log_evidence_error: float
    log_evidence_tempering: float
    importance_draws: int
    importance_efficiency: float
    share: dict[str, float]
    """of one of two kinds of solution, :func:`lobes`"""
    complete: bool
    wall_s: float
    pareto_k: float | None = None
    """of the weighted draws, unreliable above ``importance.PARETO_K_MAX``; None if too few"""

    @property
    def evidence_is_reliable(self) -> bool:
        return self.pareto_k is not None and self.pareto_k <= PARETO_K_MAX


@dataclasses.dataclass(frozen=True)
class Posterior:
    """Draws with everything about them; arrays are (chains, draws), but for the weighted ones."""

    prior: Prior
    likelihood: str
    preset_hash: str
    """of prior and likelihood, :mod:`provenance`"""
    versions: dict[str, str]
    """that sampled"""
    run: Run
    measurements: dict[str, str]
    """data of every term, as text"""
    parameters: dict[str, np.ndarray]
    """sampled parameters in physical units, then nuisances"""
    observables: dict[str, np.ndarray]
    log_likelihoods: dict[str, np.ndarray]
    """of every term"""
    pulls: dict[str, np.ndarray]
    """of every term"""
    statistics: dict[str, np.ndarray]
    """of the sampler, under ArviZ's names"""
    weighted: Weighted
    """draws beside the chains"""

    @classmethod
    def of(cls, fit: Fit) -> Self:
        """The posterior that a fit has sampled."""
        likelihood, prior = fit.target.likelihood, fit.target.coordinates.prior
        draws = fit.draws
        columns, terms = fit.columns, likelihood.term_list
        return cls(
            prior=prior,
            likelihood=likelihood.name,
            preset_hash=preset_hash(fit.target),
            versions=versions(),
            run=_run(fit),
            measurements={term.name: str(term.measurement) for term in terms},
            parameters=fit.target.coordinates.values(draws.y),
            observables={name: columns[name] for name in observable_columns(prior.model)},
            log_likelihoods={term.name: columns[f"loglike_{term.name}"] for term in terms},
            pulls={term.name: columns[f"pull_{term.name}"] for term in terms},
            statistics={arviz_name: fit.statistic(name) for arviz_name, name in _STATISTICS.items()}
            | {"lp": draws.log_prior + draws.log_likelihood},
            weighted=fit.weighted,
        )

    @property
    def title(self) -> str:
        return f"{self.likelihood}, {self.prior.model.model}"

    @property
    def box(self) -> np.ndarray:
        """(chains, draws, dimension): log10 of the parameters with a log prior."""
        return self._in_box(self.parameters)

    @property
    def weighted_box(self) -> np.ndarray:
        """(n, dimension): the weighted draws in the same way."""
        return self._in_box(self.weighted.parameters)

    def _in_box(self, parameters: dict[str, np.ndarray]) -> np.ndarray:
        logs = {info.name for info in self.prior.parameters if is_log(info)}
        columns = [np.log10(x) if name in logs else x for name, x in parameters.items()]
        return np.stack(columns, axis=-1)


def _run(fit: Fit) -> Run:
    weighted = fit.learned.importance
    return Run(
        seed=fit.seed,
        log_evidence=weighted.log_z,
        log_evidence_error=weighted.log_z_error,
        log_evidence_tempering=fit.tempered.log_z,
        importance_draws=len(weighted.weights),
        importance_efficiency=weighted.efficiency,
        share=lobes(fit),
        complete=fit.complete,
        wall_s=fit.wall_s,
        pareto_k=weighted.pareto_k if np.isfinite(weighted.pareto_k) else None,
    )


def kinds(target: Target, y: np.ndarray) -> dict[str, np.ndarray]:
    """A model's two kinds of solution, and which points y (..., dimension) are of each.

    With a dark Higgs a two-body B -> K H1 (m_h1 < m_B - m_K) or none; without one, annihilation
    below the pole (m_zp > 2 m_dm) or above.
    """
    sm, prior = target.likelihood.sm, target.coordinates.prior
    params, _ = prior.physical(target.coordinates.to_box_many(y))
    p = params.as_dark_higgs()
    if prior.model.has_dark_higgs:
        inside = np.asarray(p.m_h1 < float(sm.m_bplus - sm.m_kplus))
        return {"two-body": inside, "three-body": ~inside}
    inside = np.asarray(p.m_zp > 2.0 * p.m_x)
    return {"below the pole": inside, "above the pole": ~inside}


def lobes(fit: Fit) -> dict[str, float]:
    """Share of the posterior in the first of :func:`kinds`.

    ``draws`` of the chains, ``weighted`` draws of the learned density with its ``error``: two
    estimates that agree where the chains have found the weights of the modes.
    """

    def inside(y: np.ndarray) -> np.ndarray:
        return next(iter(kinds(fit.target, y).values()))

    weighted = fit.learned.importance
    share, error = weighted.share(inside(weighted.points.y))
    return {"draws": float(np.mean(inside(fit.draws.y))), "weighted": share, "error": error}


def to_arviz(posterior: Posterior) -> Any:
    """ArviZ object with groups posterior (observables included), sample_stats, log_likelihood.

    An InferenceData with ArviZ 0.23, a DataTree with 1.x.
    """
    p, prior = posterior, posterior.prior
    parameters = dict(zip(_variables(prior), p.parameters.values(), strict=True))
    pulls = {_PULL + name: pull for name, pull in p.pulls.items()}
    groups = {
        "posterior": parameters | p.observables,
        "sample_stats": p.statistics | pulls,
        "log_likelihood": p.log_likelihoods,
    }
    if int(arviz.__version__.split(".")[0]) >= 1:
        data = arviz.from_dict(groups)
    else:
        data = arviz.from_dict(**groups)  # pyright: ignore[reportCallIssue]
    held = {
        "ranges": {i.name: r for i, r in zip(prior.parameters, prior.ranges, strict=True)},
        "fixed": dict(prior.fixed),
        "nuisances": prior.nuisances,
        "measurements": p.measurements,
        "versions": p.versions,
        "run": dataclasses.asdict(p.run),
    }
    words = {
        "likelihood": p.likelihood,
        "model": prior.model.model,
        "preset_hash": p.preset_hash,
    }
    # Attributes of netCDF are texts and numbers.
    data.attrs.update(words | {name: json.dumps(value) for name, value in held.items()})
    return data


def _weighted_group(posterior: Posterior) -> xr.Dataset:
    weighted = posterior.weighted
    arrays = {name: getattr(weighted, name) for name in _OF_WEIGHTED}
    arrays |= dict(zip(_variables(posterior.prior), weighted.parameters.values(), strict=True))
    arrays |= weighted.observables
    return xr.Dataset({name: ("sample", array) for name, array in arrays.items()})


def write(posterior: Posterior, folder: Path) -> Path:
    """``posterior.nc`` in ``folder``, the weighted draws in a group of their own.

    Raises:
        InputError: it cannot be written.
    """
    # HDF5 refuses to overwrite a file that is open, as in the notebook beside a second fit.
    hidden = folder / f".{os.getpid()}.{FILE}"
    try:
        to_arviz(posterior).to_netcdf(str(hidden))
        _weighted_group(posterior).to_netcdf(hidden, mode="a", group=_WEIGHTED, engine="h5netcdf")
        os.replace(hidden, folder / FILE)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from None
    finally:
        hidden.unlink(missing_ok=True)
    return folder / FILE


def read(folder: Path) -> Posterior:
    """The posterior that a fit has written into ``folder``.

    Raises:
        InputError: there is none, it is damaged, or another program or version wrote it.
    """
    path = folder / FILE
    if not path.is_file():
        if (folder / CHECKPOINT).exists():
            raise InputError(f"{folder}: its fit has no {FILE} yet; the same lmltdm fit goes on")
        raise InputError(f"{folder}: no run of lmltdm fit (it has no {FILE})")
    try:
        with h5netcdf.File(path, "r") as file:
            return _contents(file)
    except KeyError as error:
        raise InputError(
            f"{path}: has no {error}; another version of lmltdm_jax or another program wrote it"
        ) from None
    except InputError as error:
        raise InputError(f"{path}: written by another version of lmltdm_jax: {error}") from None
    except Exception as error:
        # Whatever HDF5, JSON and ours say about a file that has been cut or overwritten.
        raise InputError(f"{path}: cannot be read ({error})") from None


def _variables(prior: Prior) -> list[str]:
    """Names in the file, in the order of ``prior.names``."""
    sampled = [info.name for info in prior.parameters]
    return sampled + [NUISANCE + name for name in prior.nuisances]


def _contents(file: h5netcdf.File) -> Posterior:
    def held(name: str) -> Any:
        return json.loads(file.attrs[name])

    def arrays(group: str, names: Iterable[str]) -> dict[str, np.ndarray]:
        return {name: file[group].variables[name][...] for name in names}

    model = find_model(file.attrs["model"])
    prior = Prior.from_table(tuple(held("nuisances")), held("ranges"), held("fixed"), model)
    measurements = held("measurements")
    observed = list(observable_columns(model))

    def named(sampled: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(prior.names, sampled.values(), strict=True))

    pulls = arrays("sample_stats", (_PULL + term for term in measurements))
    return Posterior(
        prior=prior,
        likelihood=file.attrs["likelihood"],
        preset_hash=file.attrs["preset_hash"],
        versions=held("versions"),
        run=Run(**held("run")),
        measurements=measurements,
        parameters=named(arrays("posterior", _variables(prior))),
        observables=arrays("posterior", observed),
        log_likelihoods=arrays("log_likelihood", measurements),
        pulls={name.removeprefix(_PULL): pull for name, pull in pulls.items()},
        statistics=arrays("sample_stats", (*_STATISTICS, "lp")),
        weighted=Weighted(
            **arrays(_WEIGHTED, _OF_WEIGHTED),
            parameters=named(arrays(_WEIGHTED, _variables(prior))),
            observables=arrays(_WEIGHTED, observed),
        ),
    )
