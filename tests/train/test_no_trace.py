"""Training and export tell nobody of themselves: no network, and nothing in the user's home."""

import pytest

from tests.runtime.traces import is_probe, run

TRAIN = "from seas_train.cli import main; main()"
EXPORT = "from seas_export.cli import main; main()"
FEW = ("--steps", 1, "--anomaly-batch", 1, "--normal-batch", 1, "--normal-count", 1)


@pytest.mark.slow
def test_training_leaves_no_trace(base, product, tmp_path):
    words = ("tune", product.root, "--base", base, "--out", tmp_path / "run", *FEW)
    assert run(tmp_path, TRAIN, *words, timeout=600, probes=True) == ([], [])


@pytest.mark.slow
def test_exporting_leaves_no_trace(tuned, tmp_path):
    assert run(tmp_path, EXPORT, tuned, "--out", tmp_path / "x.plan", timeout=600, probes=True) == ([], [])


PROBED = [
    "7 socket(AF_INET6, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 3",
    '7 bind(3, {sa_family=AF_INET6, sin6_port=htons(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = 0',
]


@pytest.mark.parametrize(
    ("lines", "probe"),
    [
        (PROBED, True),
        (PROBED[:1], False),
        ([*PROBED, PROBED[0]], False),
        ([*PROBED, "7 listen(3, 5) = 0"], False),
        ([PROBED[0], PROBED[1].replace("::1", "::")], False),
        ([PROBED[0], PROBED[1].replace("htons(0)", "htons(80)")], False),
        ([PROBED[0], PROBED[1].replace("bind", "connect")], False),
    ],
)
def test_what_is_let_pass_is_no_more_than_a_question_to_the_kernel(lines, probe):
    assert is_probe(lines) == probe
