"""A posterior without a fit: draws of the prior, everything else drawn too."""

import dataclasses

import numpy as np
from lmltdm_jax.inference.posterior import Posterior, Run
from lmltdm_jax.inference.prior import Prior
from lmltdm_jax.inference.provenance import versions
from lmltdm_jax.inference.weighted import Weighted

from lmltdm_jax.parameters import Parameters
from lmltdm_jax.prediction import observable_columns

RUN = Run(
    seed=3,
    log_evidence=-12.5,
    log_evidence_error=0.1,
    log_evidence_tempering=-12.3,
    importance_draws=256,
    importance_efficiency=0.25,
    share={"draws": 0.6, "weighted": 0.55, "error": 0.05},
    complete=True,
    wall_s=61.7,
    pareto_k=0.4,
)
TERMS = {"muon_g2": "2.49e-09 +- 4.8e-10", "higgs_invisible": "< 0.13 (95 % CL)"}


WEIGHTED = 500


def made_posterior(chains=3, draws=40, model=Parameters, nuisances=("kappa_sb",), complete=True):
    """Draws of the prior, unit normals for what a likelihood would have given."""
    rng, shape = np.random.default_rng(1), (chains, draws)
    prior = Prior.from_table(nuisances, ranges={"m_zp": (4e-3, 0.4)}, model=model)
    x = np.asarray(prior.box_from_unit(rng.uniform(0.1, 0.9, (*shape, prior.dimension))))
    params, floating = prior.physical(x)
    sampled = {info.name: getattr(params, info.name) for info in prior.parameters}
    parameters = {name: np.asarray(v) for name, v in (sampled | floating).items()}
    columns = observable_columns(model)
    observables = {name: rng.lognormal(size=shape) for name in columns}
    weights = rng.dirichlet(np.ones(WEIGHTED))
    chosen = rng.integers(chains * draws, size=WEIGHTED)
    return Posterior(
        prior=prior,
        likelihood="made",
        preset_hash="0123456789abcdef",
        versions=versions(),
        run=dataclasses.replace(RUN, complete=complete),
        measurements=TERMS,
        parameters=parameters,
        observables=observables,
        log_likelihoods={term: -rng.exponential(size=shape) for term in TERMS},
        pulls={term: rng.normal(size=shape) for term in TERMS},
        statistics={
            "diverging": rng.uniform(size=shape) < 0.1,
            "n_steps": rng.integers(1, 64, size=shape),
            "acceptance_rate": rng.uniform(size=shape),
            "energy": rng.normal(size=shape),
            "lp": rng.normal(size=shape),
        },
        weighted=Weighted(
            weights=weights,
            log_likelihood=-rng.exponential(size=WEIGHTED),
            parameters={name: v.ravel()[chosen] for name, v in parameters.items()},
            observables={name: v.ravel()[chosen] for name, v in observables.items()},
        ),
    )
