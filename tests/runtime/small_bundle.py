"""A bundle small enough to work out by hand: three linear graphs over one `weights.bin`."""

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image
from safetensors.numpy import save_file

from seas_runtime.bundle.reader import write_manifest

CHANNELS, SIDE, IMAGE, LENGTH, WIDTH, NORMALS = 2, 4, 8, 3, 5, 6
DEFECTS = ("crack", "hole", "stain")
MIX = np.array([[0.6, 0.2], [-0.1, 0.5]], np.float32)
RGB = np.array([[0.5, 0.1], [-0.2, 0.4], [0.3, -0.3]], np.float32)
SCHEDULE = {
    "beta_start": 0.001,
    "beta_end": 0.02,
    "beta_schedule": "scaled_linear",
    "train_steps": 100,
    "spacing": "linspace",
    "final": "zero",
}
LATENT = ("n", CHANNELS, SIDE, SIDE)
UP2, UP3 = ("n", CHANNELS, SIDE // 2, SIDE // 2), LATENT
PICTURE, PROBABILITY = ("n", 3, IMAGE, IMAGE), ("n", 1, IMAGE, IMAGE)


def unet(sample, timestep, prompt):
    """The U-Net's arithmetic in numpy."""
    push = prompt.mean(axis=(1, 2)).reshape(-1, 1, 1, 1)
    time = timestep.astype(np.float32).reshape(-1, 1, 1, 1) * np.float32(0.001)
    noise = np.einsum("oc,nchw->nohw", MIX, sample) + push + time
    pooled = sample.reshape(len(sample), CHANNELS, 2, 2, 2, 2).mean(axis=(3, 5))
    return noise, pooled, sample + push


def decoder(latent):
    return np.einsum("oc,nchw->nohw", RGB, latent).repeat(2, axis=2).repeat(2, axis=3)


def mask_branch(latent, up2, up3):
    logits = (latent + up3).mean(axis=1, keepdims=True) + up2.mean(axis=(1, 2, 3), keepdims=True)
    return (1 / (1 + np.exp(-logits))).repeat(2, axis=2).repeat(2, axis=3)


def finish(latent, up2, up3):
    return decoder(latent), mask_branch(latent, up2, up3)


class Weights:
    """Initializers that all lie in `weights.bin`."""

    def __init__(self):
        self.data = b""

    def tensor(self, name, array):
        raw = array.tobytes()
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=array.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights.bin"), ("offset", len(self.data)), ("length", len(raw))):
            tensor.external_data.add(key=key, value=str(value))
        self.data += raw
        return tensor


def save_graph(path, nodes, inputs, outputs, initializers):
    values = [
        [
            helper.make_tensor_value_info(name, TensorProto.INT64 if name == "timestep" else TensorProto.FLOAT, shape)
            for name, shape in tensors
        ]
        for tensors in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, path.stem, *values, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())


def ints(name, *values):
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def floats(name, *values):
    return helper.make_tensor(name, TensorProto.FLOAT, [len(values)], values)


def write_graphs(folder):
    node, weights = helper.make_node, Weights()
    upsample = [node("Resize", ["small", "", "scales"], ["big"], mode="nearest", nearest_mode="floor",
                     coordinate_transformation_mode="asymmetric")]  # fmt: skip
    save_graph(
        folder / "unet.onnx",
        [
            node("Conv", ["sample", "mix"], ["mixed"]),
            node("ReduceMean", ["prompt", "axes"], ["flat"], keepdims=0),
            node("Reshape", ["flat", "column"], ["push"]),
            node("Cast", ["timestep"], ["real"], to=TensorProto.FLOAT),
            node("Mul", ["real", "unit"], ["scaled"]),
            node("Reshape", ["scaled", "column"], ["time"]),
            node("Sum", ["mixed", "push", "time"], ["noise"]),
            node("AveragePool", ["sample"], ["up2"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Add", ["sample", "push"], ["up3"]),
        ],
        [("sample", LATENT), ("timestep", ("n",)), ("prompt", ("n", LENGTH, WIDTH))],
        [("noise", LATENT), ("up2", UP2), ("up3", UP3)],
        [
            weights.tensor("mix", MIX[:, :, None, None]),
            ints("axes", 1, 2),
            ints("column", -1, 1, 1, 1),
            floats("unit", 0.001),
        ],
    )
    save_graph(
        folder / "decoder.onnx",
        [node("Conv", ["latent", "rgb"], ["small"]), *upsample, node("Identity", ["big"], ["image"])],
        [("latent", LATENT)],
        [("image", PICTURE)],
        [weights.tensor("rgb", RGB[:, :, None, None]), floats("scales", 1, 1, 2, 2)],
    )
    save_graph(
        folder / "mask_branch.onnx",
        [
            node("Add", ["latent", "up3"], ["sum"]),
            node("ReduceMean", ["sum", "channel"], ["grey"]),
            node("ReduceMean", ["up2", "inner"], ["level"]),
            node("Add", ["grey", "level"], ["small"]),
            *upsample,
            node("Sigmoid", ["big"], ["probability"]),
        ],
        [("latent", LATENT), ("up2", UP2), ("up3", UP3)],
        [("probability", PROBABILITY)],
        [ints("channel", 1), ints("inner", 1, 2, 3), floats("scales", 1, 1, 2, 2)],
    )
    (folder / "weights.bin").write_bytes(weights.data)


def write_finish(folder):
    """The graph of one look, in place of that of the steps."""
    node = helper.make_node
    (folder / "mask_branch.onnx").unlink()
    save_graph(
        folder / "finish.onnx",
        [
            node("Conv", ["latent", "rgb"], ["picture"]),
            node("Add", ["latent", "up3"], ["sum"]),
            node("ReduceMean", ["sum", "channel"], ["grey"]),
            node("ReduceMean", ["up2", "inner"], ["level"]),
            node("Add", ["grey", "level"], ["logits"]),
            node("Sigmoid", ["logits"], ["small"]),
            *(
                node("Resize", [small, "", "scales"], [big], mode="nearest", nearest_mode="floor",
                     coordinate_transformation_mode="asymmetric")
                for small, big in (("picture", "image"), ("small", "probability"))
            ),
        ],
        [("latent", LATENT), ("up2", UP2), ("up3", UP3)],
        [("image", PICTURE), ("probability", PROBABILITY)],
        [
            helper.make_tensor("rgb", TensorProto.FLOAT, (3, CHANNELS, 1, 1), RGB.ravel()),
            ints("channel", 1), ints("inner", 1, 2, 3), floats("scales", 1, 1, 2, 2),
        ],
    )  # fmt: skip


def seal_final(folder, timestep=7, **fields):
    """Seal a bundle whose masks are of one look at the finished picture."""
    known = manifest_fields()
    graphs = known["graphs"] | {
        "finish": {
            "files": {"fp32": "finish.onnx"},
            "inputs": known["graphs"]["mask_branch"]["inputs"],
            "outputs": tensors(("image", PICTURE), ("probability", PROBABILITY)),
        }
    }
    del graphs["mask_branch"]
    if (folder / "mask_branch.onnx").exists():
        write_finish(folder)
    words = {"graphs": graphs, "mask_source": "final", "mask_timestep": timestep, "defaults": known["defaults"] | {"mask_steps": 1}}
    return seal(folder, **(words | fields))


def tensors(*named):
    return [{"name": name, "dtype": "int64" if name == "timestep" else "float32", "shape": shape} for name, shape in named]


def manifest_fields():
    return {
        "product": "tile",
        "defects": defects(),
        "normal_prompt": "a tile",
        "geometry": {
            "image_size": IMAGE,
            "latent_channels": CHANNELS,
            "latent_size": SIDE,
            "prompt_length": LENGTH,
            "prompt_width": WIDTH,
        },
        "schedule": dict(SCHEDULE),
        "start": {"signal": 0.5, "noise": 0.8},
        "defaults": {"steps": 5, "guidance": 2.0, "threshold": 0.5, "mask_steps": 2},
        "graphs": {
            "unet": {
                "files": {"fp32": "unet.onnx"},
                "inputs": tensors(("sample", LATENT), ("timestep", ("n",)), ("prompt", ("n", LENGTH, WIDTH))),
                "outputs": tensors(("noise", LATENT), ("up2", UP2), ("up3", UP3)),
            },
            "decoder": {
                "files": {"fp32": "decoder.onnx"},
                "inputs": tensors(("latent", LATENT)),
                "outputs": tensors(("image", PICTURE)),
            },
            "mask_branch": {
                "files": {"fp32": "mask_branch.onnx"},
                "inputs": tensors(("latent", LATENT), ("up2", UP2), ("up3", UP3)),
                "outputs": tensors(("probability", PROBABILITY)),
            },
        },
        "parity": {"unet": {"noise": {"relative_l2": 1e-6}}},
        "provenance": {"licence": "none, made by a test"},
    }


def conditioning():
    rng = np.random.default_rng(5)
    names = [f"prompt.{name}" for name in (*DEFECTS, "empty", "normal")]
    arrays = {name: rng.normal(size=(LENGTH, WIDTH)).astype(np.float32) * 0.3 for name in names}
    arrays["normal.mean"] = rng.normal(size=(NORMALS, CHANNELS, SIDE, SIDE)).astype(np.float16)
    arrays["normal.std"] = rng.uniform(0.01, 0.1, (NORMALS, CHANNELS, SIDE, SIDE)).astype(np.float32)
    return arrays


def write_parts(folder):
    """Everything but the manifest."""
    folder.mkdir(parents=True)
    write_graphs(folder)
    save_file(conditioning(), folder / "conditioning.safetensors")


def photographs():
    """Of the normal images, (P, H, W, 3) uint8."""
    return np.random.default_rng(7).integers(0, 256, (NORMALS, IMAGE, IMAGE, 3), np.uint8)


def write_photographs(folder, pictures=None):
    """PNG files of these pictures, by default of `photographs`; their names in the bundle."""
    (folder / "photographs").mkdir()
    pictures = photographs() if pictures is None else pictures
    names = [f"photographs/{number:03d}.png" for number in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(folder / name)
    return names


def seal(folder, **fields):
    """Seal a bundle again, with fields of the manifest changed."""
    (folder / "manifest.json").unlink(missing_ok=True)
    return write_manifest(folder, manifest_fields() | fields)


def defects(**known):
    """The manifest's defect types, with what it knows of some of them: defects(crack={"threshold": 0.4})."""
    return [{"name": name, "prompt": f"a tile with a {name}"} | known.get(name, {}) for name in DEFECTS]


def change_graph(folder, change, file="unet.onnx", **fields):
    """Change one ONNX file of a bundle and seal the bundle again, as an attacker could; fields of the manifest may change too."""
    model = onnx.load(folder / file, load_external_data=False)
    change(model)
    (folder / file).write_bytes(model.SerializeToString())
    return seal(folder, **fields)


def two_sums(model):
    """The U-Net's noise as a sum of a sum, the same numbers."""
    (last,) = (node for node in model.graph.node if node.op_type == "Sum")
    model.graph.node.append(helper.make_node("Add", ["mixed", "push"], ["both"]))
    model.graph.node.append(helper.make_node("Add", ["both", "time"], ["noise"]))
    model.graph.node.remove(last)
