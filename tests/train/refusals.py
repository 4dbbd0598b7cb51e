"""What a user is told: one line, and the exit code of the house."""

from collections.abc import Callable

import pytest

from seas_runtime.errors import DataError


def data_error(call: Callable[..., object], *arguments: object) -> str:
    """The line of a DataError that `call(*arguments)` raises."""
    with pytest.raises(DataError) as caught:
        call(*arguments)
    assert caught.value.exit_code == 3
    message = caught.value.format_message()
    assert "\n" not in message
    return message
