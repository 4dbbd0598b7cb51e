"""Bundles that are spoiled, and the check that each of them has to pass."""

import json

import pytest

from seas_runtime.bundle.digest import canonical_digest
from seas_runtime.bundle.reader import read_bundle
from seas_runtime.errors import BundleError


def refused(folder, *words, **options):
    with pytest.raises(BundleError) as caught:
        read_bundle(folder, **options)
    message = caught.value.message
    assert caught.value.exit_code == 3
    assert "\n" not in message
    for word in words:
        assert word in message, message


def spoil_manifest(folder, change):
    """Edit the manifest and make its digest fit again."""
    file = folder / "manifest.json"
    content = json.loads(file.read_text())
    change(content)
    content["digest"] = canonical_digest(content)
    file.write_text(json.dumps(content, sort_keys=True, indent=1) + "\n")
