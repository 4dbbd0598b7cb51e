"""The one form in which a manifest lies on the disk, and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def canonical_digest(manifest: Mapping[str, Any]) -> str:
    """Sha256 (hex) of the manifest without its key `digest`, as canonical JSON.

    Canonical: keys sorted, separators "," and ":", ASCII, no NaN or infinity.

    Raises:
        ValueError: a value that JSON cannot hold.
    """
    content = {key: value for key, value in manifest.items() if key != "digest"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def stored_form(manifest: Mapping[str, Any]) -> bytes:
    """The one way a manifest lies on the disk, so that any byte changed is seen."""
    text = json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False)
    return text.encode("ascii") + b"\n"
