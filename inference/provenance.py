"""What a result was made with: versions of the software, and a hash of the posterior's numbers.

The hash covers every number that defines prior and likelihood: of each term the arrays, options and
measurements, the Standard Model inputs and the errors of those that float, the choices of formulas,
ranges and fixed values. Not covered are the formulas (the version stands for them), the
samplers' settings, and citations and notes. Two runs with one hash and one version sampled the same
posterior.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

import jax
import numpy as np

from lmltdm_jax import __version__
from lmltdm_jax.errors import InputError
from lmltdm_jax.inputs import input_table
from lmltdm_jax.likelihoods.measurement import Measurement

from .target import Target

_PACKAGES = ("jax", "jaxlib", "numpyro", "arviz", "numpy")
_DIGITS = 9
"""Of every number. The last bits of a logarithm in an array differ from machine to machine."""
_HASH_LENGTH = 16
_MEASURED = ("key", "unit", "confidence_level", "value", "error_up", "error_down", "limit")


def versions() -> dict[str, str]:
    """Version of this package, of Python and of the packages that decide the numbers."""
    own = {"lmltdm_jax": __version__, "python": platform.python_version()}
    return own | {name: metadata.version(name) for name in _PACKAGES}


def preset_hash(target: Target) -> str:
    """First 16 hexadecimal digits of the sha256 over what the module says.

    Raises:
        InputError: a term holds something whose numbers cannot be seen.
    """
    prior, likelihood = target.coordinates.prior, target.likelihood
    errors = input_table(likelihood.inputs)
    content = {
        "model": prior.model.model,
        "prior": [
            (i.name, i.scale, r) for i, r in zip(prior.parameters, prior.ranges, strict=True)
        ],
        "fixed": prior.fixed,
        "nuisances": {name: errors.get(name, {}).get("error") for name in prior.nuisances},
        "inputs": likelihood.sm,
        "settings": likelihood.settings,
        "terms": likelihood.term_list,
    }
    digest = hashlib.sha256()
    for line in lines_of(content):
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()[:_HASH_LENGTH]


def fingerprint(target: Target, settings: Any, seed: int) -> str:
    """What a checkpoint must agree in; ``settings`` is a dataclass."""
    return json.dumps(
        {
            "version": __version__,
            "posterior": preset_hash(target),
            "adapted": target.coordinates.adapted,
            "seed": seed,
            "settings": dataclasses.asdict(settings),
        }
    )


def lines_of(value: Any, path: str = "") -> Iterator[str]:
    """One line for each number, name and type inside ``value``, always in the same order.

    An object is its class and its attributes; a function or class is its name.
    """
    if isinstance(value, np.ndarray | np.generic | jax.Array | float | int):
        array = np.asarray(value)
        # + 0 makes -0 a 0.
        numbers = " ".join(f"{x + 0:.{_DIGITS - 1}e}" for x in array.ravel().tolist())
        yield f"{path} {array.shape} {numbers}"
    elif value is None or isinstance(value, str):
        yield f"{path} {value!r}"
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from lines_of(value[key], f"{path}.{key}")
    elif isinstance(value, tuple | list):
        yield f"{path} {len(value)}"
        for i, item in enumerate(value):
            yield from lines_of(item, f"{path}[{i}]")
    elif isinstance(value, frozenset | set):
        yield from lines_of(sorted(value), path)
    elif isinstance(value, Measurement):
        yield from lines_of({name: getattr(value, name) for name in _MEASURED}, path)
    elif hasattr(value, "__qualname__"):
        yield f"{path} {value.__module__}.{value.__qualname__}"
    elif hasattr(value, "__dict__"):
        yield f"{path} {type(value).__qualname__}"
        yield from lines_of(vars(value), path)
    else:
        raise InputError(f"{path.lstrip('.')}: a {type(value).__name__} has no numbers to hash")
