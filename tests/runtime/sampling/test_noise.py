import numpy as np
import pytest

from seas_runtime.errors import SettingsError
from seas_runtime.sampling.noise import NORMAL_IMAGE, POSTERIOR, START, Stream

# Known answers of philox4x64-10, from kat_vectors of the Random123 library: counter, key, result.
PI = (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89)
KNOWN = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
    ),
    (
        (2**64 - 1,) * 4,
        (2**64 - 1,) * 2,
        (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
    ),
    (
        PI,
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
]


def philox(counter, key):
    """Philox4x64-10 as the paper writes it, in whole numbers."""
    c, k, mask = list(counter), list(key), 2**64 - 1
    for _ in range(10):
        high = 0xD2E7470EE14C6C93 * c[0]
        low = 0xCA5A826395121157 * c[2]
        c = [(low >> 64) ^ c[1] ^ k[0], low & mask, (high >> 64) ^ c[3] ^ k[1], high & mask]
        k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
    return tuple(c)


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_the_tests_philox_gives_the_published_answers(counter, key, result):
    assert philox(counter, key) == result


@pytest.mark.parametrize("seed", [0, 7, 2**63, 2**64 - 1])
@pytest.mark.parametrize("attempt", [0, 3])
def test_words_are_philox_of_seed_index_attempt_and_purpose(seed, attempt):
    words = Stream(seed, 123456789012, attempt).raw(START, 12).tolist()
    blocks = [philox((block, 0, attempt, START), (seed, 123456789012)) for block in (1, 2, 3)]
    assert words == [word for block in blocks for word in block]


def test_normals_are_box_muller_of_the_words():
    stream = Stream(3, 4)
    words = [int(word) >> 11 for word in stream.raw(POSTERIOR, 6)]
    expected = []
    for first, second in zip(words[::2], words[1::2], strict=True):
        radius = np.sqrt(-2 * np.log((first + 1) / 2**53))
        expected += [radius * np.cos(2 * np.pi * second / 2**53), radius * np.sin(2 * np.pi * second / 2**53)]
    got = stream.normals(POSTERIOR, (5,))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected[:5], rtol=1e-6, atol=1e-7)


def test_normals_have_the_moments_of_the_normal_distribution():
    count = 200_000
    values = Stream(11, 0).normals(START, (count,)).astype(np.float64)
    error = 5 / np.sqrt(count)
    assert abs(values.mean()) < error
    assert abs(values.var() - 1) < error * np.sqrt(2)
    assert abs((values**3).mean()) < error * np.sqrt(15)
    assert abs((values**4).mean() - 3) < error * np.sqrt(96)
    assert abs((np.abs(values) < 1).mean() - 0.682689) < error
    assert abs(np.corrcoef(values[::2], values[1::2])[0, 1]) < error * np.sqrt(2)


def test_streams_differ_in_seed_index_attempt_and_purpose():
    draws = [
        Stream(1, 1, 0).normals(START, (64,)),
        Stream(2, 1, 0).normals(START, (64,)),
        Stream(1, 2, 0).normals(START, (64,)),
        Stream(1, 1, 1).normals(START, (64,)),
        Stream(1, 1, 0).normals(POSTERIOR, (64,)),
    ]
    assert np.abs(np.corrcoef(draws) - np.eye(5)).max() < 0.6
    assert np.array_equal(draws[0][:10], Stream(1, 1, 0).normals(START, (10,)))


def test_integers_are_uniform():
    counts = np.bincount([Stream(0, index).integer(NORMAL_IMAGE, 7) for index in range(7000)], minlength=7)
    assert len(counts) == 7
    assert ((counts - 1000) ** 2 / 1000).sum() < 22.5  # chi-square, 6 degrees of freedom, p = 0.001


def test_integers_pass_over_words_past_the_last_whole_multiple():
    below = 2**63 + 1  # only words below it are whole multiples: nearly half are passed over
    for index in range(50):
        stream = Stream(9, index)
        first = next(word for word in stream.raw(NORMAL_IMAGE, 64).tolist() if word < below)
        assert stream.integer(NORMAL_IMAGE, below) == first


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (2**64, 0), (0, -1), (0, 2**64)])
def test_numbers_out_of_range_are_refused(seed, index):
    with pytest.raises(SettingsError, match="expected"):
        Stream(seed, index)
