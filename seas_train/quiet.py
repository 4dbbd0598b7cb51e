"""Libraries that keep to themselves: their progress bars and warnings drown ours."""

from __future__ import annotations

import logging
import os
import warnings

from seas_runtime import voice
from seas_runtime.errors import SettingsError
from seas_runtime.versions import extra


def hush() -> None:
    """Load the libraries and stop their own progress bars and warnings.

    Raises:
        SettingsError: they are not installed.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    warnings.filterwarnings("ignore", module=r"diffusers|transformers|huggingface_hub|torch")
    try:
        with voice.loading("torch", "loading PyTorch"):
            from diffusers.utils import logging as diffusers_log  # noqa: PLC0415 - heavy
            from transformers.utils import logging as transformers_log  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SettingsError(f"{error.name} is not installed; run {extra('train')}") from None

    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # its retries; the error itself is ours to tell
    for log in (diffusers_log, transformers_log):
        log.set_verbosity_error()
        log.disable_progress_bar()
