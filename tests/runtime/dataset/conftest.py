"""`seas-data import` in this process."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from seas_runtime.dataset.cli import data
from tests.runtime.dataset.masked import SIZE
from tests.runtime.dataset.truth import photograph, write_normals
from tests.runtime.dataset.written_sources import WRITERS


@pytest.fixture
def run(tmp_path):
    """run("--yes", source=..., code=0) -> output; the product lies in tmp_path / "out/part"."""

    def invoke(*words, source=tmp_path / "source", into=tmp_path / "out/part", code=0):
        given = ["import", source, "--into", into, *words]
        result = CliRunner().invoke(data, [str(word) for word in given])
        assert result.exit_code == code, (result.output, result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.output

    return invoke


@pytest.fixture
def product(tmp_path):
    """What the import wrote."""
    return Product(tmp_path / "out/part")


class Product:
    def __init__(self, root):
        self.root = root

    @property
    def record(self):
        return json.loads((self.root / "import.json").read_text(encoding="utf-8"))

    @property
    def titles(self):
        return json.loads((self.root / "titles.json").read_text(encoding="utf-8"))

    def names(self, folder):
        return sorted(file.name for file in (self.root / folder).iterdir())

    def mask(self, name):
        values = np.asarray(Image.open(self.root / f"ground_truth/{name}_mask.png"))
        assert set(np.unique(values)) <= {0, 255}
        return values > 0


@pytest.fixture
def source(tmp_path):
    """Three photographs with LabelMe files, and two normal ones in good."""
    WRITERS["labelme"](tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture
def unmasked(tmp_path):
    """bad/0.jpg to bad/2.jpg without their masks, and two normal ones in good, in tmp_path / "source"."""
    root = tmp_path / "source"
    write_normals(root / "good")
    (root / "bad").mkdir()
    (root / "masks").mkdir()
    for i in range(3):
        photograph(i, *SIZE).save(root / f"bad/{i}.jpg")
    return root
