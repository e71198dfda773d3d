"""The heavy libraries, as a command meets them: perhaps missing, and talkative."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sharcs_edge.errors import MissingDependencyError

_QUIET = {
    "DATASETS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "error",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
}


@contextmanager
def requires_extra(extra: str, command: str) -> Iterator[None]:
    """Around imports: a library that is not there is an error that names the extra which brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("sharcs_edge"):
            raise
        raise MissingDependencyError(
            f'`sharcs-edge {command}` needs {error.name.partition(".")[0]}: pip install "sharcs-edge[{extra}]"'
        ) from None


def quiet_libraries() -> None:
    """Leaves stderr to our own words, unless the environment says otherwise.

    To be called before the libraries are imported: then they cost nothing where they are not needed.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    # torchao, which comes with litert-torch, misses kernels for other processors; torch warns of how it is called.
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
