"""Stand-ins for objects of CUDA's and TensorRT's modules that cannot be made without a GPU.

What is called is checked against the installed module: a method or attribute that its class has not, or arguments that
do not fit its signature, fail the test. `create_autospec` cannot do this for TensorRT, whose methods (pybind11) carry
their signatures in their docstrings alone.
"""

import inspect
import re
from inspect import Parameter, Signature

OPEN, CLOSE = "([{<", ")]}>"


def split(text):
    """Arguments of a signature: commas inside brackets do not part them."""
    parts, depth = [""], 0
    for before, letter in zip(" " + text, text, strict=False):
        depth += letter in OPEN
        depth -= letter in CLOSE and before != "-"
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def parameter(text):
    name, _, annotation = text.partition(":")
    kind = Parameter.VAR_POSITIONAL if name.startswith("*") else Parameter.POSITIONAL_OR_KEYWORD
    default = None if "=" in annotation else Parameter.empty
    return Parameter(name.strip().lstrip("*"), kind, default=default)


def signatures(function):
    """Of a Python or Cython function, or each overload of one of pybind11's."""
    try:
        return [inspect.signature(function)]
    except ValueError:
        pass
    name = function.__name__
    lines = [line.strip() for line in function.__doc__.splitlines()]
    found = [match for line in lines if (match := re.match(rf"(\d+\. )?{name}\((.*)\) -> ", line))]
    overloads = [match for match in found if match[1]] or found
    assert overloads, f"no signature in the docstring of {name}"
    return [Signature([parameter(part) for part in split(match[2])]) for match in overloads]


def check_call(function, *arguments, **named):
    """Some signature takes these arguments (with the object itself as the first)."""
    reasons = []
    for signature in signatures(function):
        try:
            signature.bind(*arguments, **named)
        except TypeError as error:
            reasons.append(f"{signature}: {error}")
        else:
            return
    raise AssertionError(f"{function.__qualname__}{arguments}{named}: {reasons}")


class Strict:
    """An object of the class `real` as far as its calls go, with the behaviour of `inner`; `calls` gets their names."""

    def __init__(self, real, inner, calls=None):
        vars(self).update(real=real, inner=inner, calls=[] if calls is None else calls)

    def __getattr__(self, name):
        assert hasattr(self.real, name), f"{self.real.__name__} has no {name}"
        value = getattr(self.inner, name)
        if not callable(value):
            return value

        def call(*arguments, **named):
            check_call(getattr(self.real, name), self, *arguments, **named)
            self.calls.append(name)
            return value(*arguments, **named)

        return call

    def __setattr__(self, name, value):
        kind = getattr(self.real, name, None)
        assert isinstance(kind, property), f"{self.real.__name__} has no property {name}"
        self.calls.append(name)
        setattr(self.inner, name, value)
