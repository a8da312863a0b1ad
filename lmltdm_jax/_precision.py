"""JAX's configuration: the only file that touches ``jax.config``.

The physics spans sixty decades (a Z' width of 1e-13 GeV, a Planck mass of 1e19 GeV); single
precision silently gives wrong numbers. Importing ``lmltdm_jax`` switches float64 on, once.
"""

import os
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)


def require_x64() -> None:
    """Raise ``RuntimeError`` with the cure if someone has switched float64 off since import."""
    if not jax.config.read("jax_enable_x64"):
        raise RuntimeError(
            "lmltdm_jax needs JAX in 64-bit mode, but jax_enable_x64 is off. "
            'Call jax.config.update("jax_enable_x64", True) before making any array, '
            "or set JAX_ENABLE_X64=1, and do not switch it off after importing lmltdm_jax."
        )


def enable_compilation_cache() -> Path | None:
    """Keep compiled programs on disk, so that the next process starts in seconds.

    Only the command line calls this: a library must not write to a user's disk unasked. The folder
    is ``$LMLTDM_CACHE_DIR`` ("off" disables), else ``$XDG_CACHE_HOME/lmltdm_jax``, else
    ``~/.cache/lmltdm_jax``; a cache that JAX has already been given is left alone.

    Returns:
        The folder in use, or None without a cache (switched off, or not writable: no error).
    """
    given = getattr(jax.config, "jax_compilation_cache_dir", None)  # defined at run time only
    if given is not None:
        return Path(given)
    chosen = os.environ.get("LMLTDM_CACHE_DIR", "")
    if chosen.lower() == "off":
        return None
    try:
        folder = Path(chosen) if chosen else _user_cache() / "lmltdm_jax"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    if not os.access(folder, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return folder


def _user_cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG standard says that a relative path is to be ignored.
    return Path(root) if os.path.isabs(root) else Path.home() / ".cache"
