"""The fence returns what it is given, exactly, under every transformation, and is never fused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmltdm_jax.numerics.fence import fence

pytestmark = pytest.mark.fast


def example(seed=0):
    """A pytree of every kind of leaf, values over 300 orders of magnitude."""
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=7) * 10.0 ** rng.integers(-150, 150, 7))
    return {
        "scalars": [x[0], x[1], -x[2]],
        "lone": jnp.outer(x, jnp.ones(3)),
        "vectors": (x, x[::-1]),
        "complex": jax.lax.complex(x[3], x[4]),
        "constants": (0.5, np.arange(3.0), 7),
        "index": jnp.arange(4),
        "flag": x > 0.0,
    }


def assert_identical(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert type(a) is type(b)
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit])
def test_values_are_exact(transform):
    tree = {k: v for k, v in example().items() if transform is not jax.jit or k != "constants"}
    assert_identical(transform(fence)(tree), tree)


def test_constants_stay_what_they_are():
    number, array, integer = fence(example())["constants"]
    assert isinstance(number, float) and isinstance(array, np.ndarray) and isinstance(integer, int)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_vmap(n):
    """Under vmap, points do not mix: a NaN stays in its own."""
    x = jnp.arange(3.0 * n).reshape(3, n).at[1, 0].set(jnp.nan)
    out = jax.vmap(lambda row: jnp.stack(fence(list(row))))(x)
    np.testing.assert_array_equal(out[::2], x[::2])


def polynomial(v):
    return jnp.sum(v**3) * v[0] + jnp.prod(v)


def behind_fences(v):
    parts = fence({"a": v[0], "rest": v[1:], "b": v[0]})
    return fence(polynomial(jnp.concatenate([parts["b"][None], parts["rest"]])))


@pytest.mark.parametrize(
    "derivative",
    [
        jax.grad,
        jax.jacfwd,
        jax.hessian,
        lambda f: jax.jacfwd(jax.jacfwd(f)),
        lambda f: lambda v: jax.jvp(f, (v,), (jnp.cos(v),))[1],
        lambda f: lambda v: jax.linear_transpose(jax.linearize(f, v)[1], v)(1.0)[0],
    ],
)
def test_derivatives(derivative):
    v = jnp.asarray([0.3, -1.2, 2.0, 0.7])
    ours, theirs = derivative(behind_fences)(v), derivative(polynomial)(v)
    np.testing.assert_allclose(ours, theirs, rtol=1e-15)
    batch = jnp.stack([v, 2.0 * v])
    batched = jax.jit(jax.vmap(derivative(behind_fences)))(batch)
    np.testing.assert_allclose(batched[1], derivative(polynomial)(2.0 * v), rtol=1e-14)


@pytest.mark.parametrize("batch", [None, 8])
@pytest.mark.parametrize("leaves", [1, 2, 6])
def test_fusion_stops_at_a_fence(batch, leaves):
    """Compiled for one point and for a batch: no fusion holds operations of both sides."""

    def f(v):
        inner = [jnp.sin(v * (1.0 + k)) for k in range(leaves)]
        return sum(jnp.cos(x) for x in fence(inner))

    shape = () if batch is None else (batch,)
    function = f if batch is None else jax.vmap(f)
    text = jax.jit(function).lower(jnp.ones(shape)).compile().as_text()
    computations = [c for c in text.split("\n\n") if "fused" in c.split("(")[0]]
    assert any(" sine(" in c for c in computations)
    assert not any(" sine(" in c and " cosine(" in c for c in computations)
