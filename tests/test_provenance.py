"""The hash of a posterior: the same everywhere, another one for any other number."""

import dataclasses
import subprocess
import sys

import jax
import numpy as np
import pytest
from lmltdm_jax.inference import fit as fitting
from lmltdm_jax.inference import provenance

from lmltdm_jax import GaussianTerm, Measurement
from lmltdm_jax.errors import InputError
from lmltdm_jax.observables.compute import ObservableSettings
from lmltdm_jax.zp_only import ZpScalarParameters

pytestmark = pytest.mark.fast


def hashed(likelihood, **prior):
    return provenance.preset_hash(fitting.build_target(likelihood, **prior))


def test_another_process_finds_the_same_hash(current):
    code = (
        "from lmltdm_jax.inference import fit, provenance;"
        "print(provenance.preset_hash(fit.build_target('current')))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == hashed(current) == hashed("current")


def test_every_number_of_every_term_counts(current):
    """One element of each array in turn, by one part in a million."""
    for term in current.term_list:
        leaves, structure = jax.tree.flatten(term)
        lines = list(provenance.lines_of(term))
        for i, leaf in enumerate(leaves):
            changed = np.array(leaf, float)
            usable = np.flatnonzero(np.isfinite(changed) & (changed != 0.0))
            if not usable.size:
                continue
            changed.flat[usable[-1]] *= 1.0 + 1e-6
            other = jax.tree.unflatten(structure, [*leaves[:i], changed, *leaves[i + 1 :]])
            assert list(provenance.lines_of(other)) != lines, f"{term.name}, array {i}"


def test_every_part_of_prior_and_likelihood_counts(talk2024):
    term = next(t for t in talk2024.term_list if t.name == "muon_g2")
    value = dataclasses.replace(term.measurement, value=1.0001 * term.measurement.value)
    sm = talk2024.sm.replace(m_mu=talk2024.sm.m_mu * 1.0001)
    hashes = [
        hashed(talk2024),
        hashed(talk2024.without("muon_g2")),
        hashed(talk2024.with_terms(dataclasses.replace(term, measurement=value))),
        hashed(dataclasses.replace(talk2024, sm=sm)),
        hashed(dataclasses.replace(talk2024, settings=ObservableSettings("full"))),
        hashed(talk2024.with_nuisances("kappa_sb")),
        hashed(talk2024, ranges={"m_x": (5e-3, 19.0)}),
        hashed(talk2024, fixed={"q_x": 0.5}),
        hashed(talk2024, fixed={"m_h1": 2.0}),
        hashed(talk2024, model=ZpScalarParameters),
    ]
    assert len(set(hashes)) == len(hashes)
    assert all(len(name) == 16 for name in hashes)


def test_words_do_not_count(talk2024):
    term = talk2024.term_list[0]
    note = dataclasses.replace(term.measurement, note="seen again", citation="them")
    cited = talk2024.with_terms(dataclasses.replace(term, measurement=note))
    assert hashed(dataclasses.replace(cited, name="mine")) == hashed(talk2024)


def test_a_term_whose_numbers_cannot_be_seen_is_named(talk2024):
    class Opaque(GaussianTerm):
        measurement: Measurement
        hidden: object = None
        name: str = "opaque"

        def prediction(self, context):
            return context.observables.n_eff

    term = Opaque(talk2024.term_list[0].measurement, hidden=iter("abc"))
    with pytest.raises(InputError, match="hidden: a str_ascii_iterator has no numbers"):
        hashed(talk2024.with_terms(term))


def test_versions_are_those_of_the_packages_in_use():
    versions = provenance.versions()
    assert versions["numpy"] == np.__version__ and versions["jax"] == jax.__version__
    assert list(versions) == [
        *("lmltdm_jax", "python", "jax", "jaxlib", "numpyro", "arviz", "numpy"),
    ]
