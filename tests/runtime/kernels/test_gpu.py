"""The kernels on a GPU against their twins, bit by bit; run with -m gpu."""

import ctypes

import numpy as np
import pytest

from seas_runtime.kernels import reference
from seas_runtime.kernels.loader import UPDATES, load_kernels
from tests.runtime.kernels.cases import DTYPES, same_bits, table_of


class OnDevice:
    """Arrays on the GPU, and back."""

    def __init__(self):
        from cuda.core import Device, LegacyPinnedMemoryResource

        self.device = Device()
        self.device.set_current()
        self.stream = self.device.create_stream()
        self.host = LegacyPinnedMemoryResource()

    def put(self, array):
        array = np.ascontiguousarray(array)
        staged = self.host.allocate(array.nbytes)
        ctypes.memmove(int(staged.handle), array.ctypes.data, array.nbytes)
        buffer = self.device.allocate(array.nbytes, stream=self.stream)
        buffer.copy_from(staged, stream=self.stream)
        self.stream.sync()
        return buffer

    def get(self, buffer, like):
        staged = self.host.allocate(like.nbytes)
        buffer.copy_to(staged, stream=self.stream)
        self.stream.sync()
        return np.frombuffer(ctypes.string_at(int(staged.handle), like.nbytes), like.dtype).reshape(like.shape)


pytestmark = [
    pytest.mark.gpu,
    pytest.mark.parametrize("dtype", DTYPES),
    pytest.mark.parametrize("n", [1, 3]),
]


@pytest.fixture
def there():
    return OnDevice()


@pytest.fixture
def kernels(there, dtype):
    return load_kernels(np.dtype(dtype).name)


@pytest.mark.parametrize(("halves", "copies"), UPDATES)
@pytest.mark.parametrize("side", [5, 16])
def test_a_captured_step_serves_a_whole_run(there, kernels, dtype, n, halves, copies, side):
    """begin_step and update in one CUDA graph, launched once a step, in place as a backend does it."""
    (table, timesteps), rng = table_of(6, 4.0), np.random.default_rng(n)
    latents = rng.normal(size=(n, 4, side, side)).astype(dtype)
    noise = rng.normal(size=(halves * n, 4, side, side)).astype(dtype)
    sample, before = np.concatenate([latents] * copies), np.full_like(latents, np.nan)
    row, timestep, flag = table[0], np.zeros(copies * n, np.int64), np.zeros(1, np.int32)
    on = {
        name: there.put(array)
        for name, array in {
            "table": table, "timesteps": timesteps, "counter": flag, "step": np.zeros(6, np.float32),
            "timestep": timestep, "noise": noise, "sample": sample, "clean": before, "broken": flag,
        }.items()
    }  # fmt: skip
    builder = there.stream.create_graph_builder().begin_building()
    begin = {name: on[name] for name in ("table", "timesteps", "counter", "step", "timestep")}
    kernels.begin_step(builder, **begin, steps=6, rows=copies * n)
    kernels.update(
        builder, noise=on["noise"], latents=on["sample"], before=on["clean"], step=on["step"],
        next_latents=on["sample"], clean=on["clean"], broken=on["broken"], count=latents.size,
        halves=halves, copies=copies,
    )  # fmt: skip
    graph = builder.end_building().complete()
    counter = 0
    for _ in range(6):
        graph.launch(there.stream)
        row, timestep, counter = reference.begin_step(table, timesteps, counter, copies * n)
        sample, before = reference.guided_update(noise, sample[:n], before, row, copies)
        same_bits(there.get(on["sample"], sample), sample)
        same_bits(there.get(on["clean"], before), before)
        assert there.get(on["timestep"], timestep).tolist() == timestep.tolist()
    assert there.get(on["counter"], flag)[0] == counter == 0
    assert there.get(on["broken"], flag)[0] == 0


@pytest.mark.parametrize("sides", [(8, 16), (5, 9)])
def test_images(there, kernels, dtype, n, sides):
    images = np.random.default_rng(n).normal(0, 1, (n, 3, *sides)).astype(dtype)
    images.flat[:50] = (np.arange(100, 150) + 0.5) / 127.5 - 1
    expected, flag = reference.to_pixels(images), np.zeros(1, np.int32)
    pixels, broken = there.put(np.zeros_like(expected)), there.put(flag)
    plane = sides[0] * sides[1]
    kernels.to_pixels(there.stream, images=there.put(images), pixels=pixels, broken=broken, n=n, plane=plane)
    same_bits(there.get(pixels, expected), expected)
    assert there.get(broken, flag)[0] == 0


@pytest.mark.parametrize("side", [5, 16])
def test_masks(there, kernels, dtype, n, side):
    rng, flag = np.random.default_rng(n), np.zeros(1, np.int32)
    expected = np.zeros((n, 1, side, side), np.float32)
    total, broken = there.put(expected), there.put(flag)
    for _ in range(3):
        probability = rng.random(expected.shape).astype(dtype)
        expected = reference.accumulate(probability, expected)
        there_too = there.put(probability)
        kernels.accumulate(there.stream, probability=there_too, total=total, broken=broken, count=expected.size)
    same_bits(there.get(total, expected), expected)
    assert there.get(broken, flag)[0] == 0
    mask = there.put(np.ones(expected.shape, np.uint8))
    kernels.threshold(there.stream, total=total, mask=mask, count=expected.size, steps=3, limit=0.5)
    same_bits(there.get(mask, np.zeros(expected.shape, np.uint8)), reference.threshold(expected, 3, 0.5))
    probability.flat[-1] = np.inf
    kernels.accumulate(there.stream, probability=there.put(probability), total=total, broken=broken, count=expected.size)
    assert there.get(broken, flag)[0] == 1
