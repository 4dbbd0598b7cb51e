"""Nobody is told of a run: what the packages below report to their makers by default is switched off.

Each package of this project calls `switch_off` before it imports anything else, so importing one of them is enough. Packages
look at these settings when they are loaded: what a program has loaded before is its own affair.
"""

from __future__ import annotations

import os
import sys

# ONNX Runtime 1.32 keeps a device id and a data base of events in the user's cache and looks its maker's host up. diffusers and
# transformers tell the hub what loads a model. Ray sends statistics of a cluster that it starts.
ENVIRONMENT = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
# OpenVINO 2026.4 reports its import to an analytics service, with an id that it keeps in the user's home. It knows no setting
# against that, only `opt_in_out --opt_out` by the user's hand, and does without the package that reports where there is none.
PACKAGES = ("openvino_telemetry",)


def switch_off() -> None:
    """Switch off all that is known to report; the environment goes to the processes that this one starts."""
    os.environ.update(ENVIRONMENT)
    for package in PACKAGES:
        sys.modules.setdefault(package, None)  # type: ignore[arg-type]  # how Python is told that a module is not there
