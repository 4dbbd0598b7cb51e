"""The check that every spoiled bundle has to pass."""

import pytest

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
