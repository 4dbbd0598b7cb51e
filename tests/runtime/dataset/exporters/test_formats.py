"""Each format read back: with the tool itself where it is small, else as its documentation or source says.

`tests/ecosystem` has the large tools themselves.
"""

import ast
import io
import json
import tarfile
from collections import Counter

import cv2
import numpy as np
import pytest
import webdataset
from PIL import Image, ImageDraw
from pycocotools.coco import COCO

from seas_runtime.dataset.export import export
from seas_runtime.dataset.exporters.job import Options
from seas_runtime.dataset.read import read
from seas_runtime.errors import SettingsError

from .out_folder import masks, original, write

PAIRS = [f"{i:06d}" for i in range(12)]
NORMALS = [f"normal_{i:06d}" for i in range(5)]


@pytest.fixture(scope="module")
def made(out, tmp_path_factory):
    """The export in a format, made once for each."""
    root, found = tmp_path_factory.mktemp("exports"), {}

    def make(name, **options):
        key = name + "".join(options)
        if key not in found:
            found[key] = export(read(out), name, root / key, Options(**options)).folder
        return found[key]

    return make


def picture(path):
    return np.asarray(Image.open(path))


def check_pictures(out, folders):
    """Every picture of the run lies in one of these folders, with the same bytes."""
    found = {file.stem: file.read_bytes() for folder in folders for file in folder.glob("*.png")}
    assert sorted(found) == sorted(PAIRS + NORMALS)
    assert sum(len(list(folder.glob("*.png"))) for folder in folders) == 17
    for key in PAIRS:
        (path,) = out.glob(f"tile/test/*/{key}.png")
        assert found[key] == path.read_bytes()
    for key in NORMALS:
        assert found[key] == (out / f"tile/train/good/{key[-6:]}.png").read_bytes()


@pytest.mark.parametrize("options", [{}, {"polygons": True}])
@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_coco_is_read_by_pycocotools_with_every_pixel(out, made, options):
    folder = made("coco", **options)
    check_pictures(out, [folder / "train", folder / "val"])
    seen = {}
    for split in ("train", "val"):
        coco = COCO(folder / f"annotations/instances_{split}.json")
        assert [(x["id"], x["name"]) for x in coco.loadCats(coco.getCatIds())] == [(1, "crack"), (2, "stain")]
        for image in coco.loadImgs(coco.getImgIds()):
            size = Image.open(folder / split / image["file_name"]).size
            assert (image["width"], image["height"]) == size
            annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
            parts = [coco.annToMask(annotation) for annotation in annotations]
            for annotation, part in zip(annotations, parts, strict=True):
                rows, columns = np.nonzero(part)
                assert annotation["area"] == len(rows)
                assert annotation["bbox"] == [min(columns), min(rows), np.ptp(columns) + 1, np.ptp(rows) + 1]
                assert annotation["category_id"] == 1 + (image["id"] - 1) % 2
                assert annotation["id"] // 1_000_000 == image["id"]
            seen[image["file_name"][:-4]] = np.sum([np.zeros(size[::-1], int), *parts], axis=0)
    for key in PAIRS:
        assert np.array_equal(seen[key], original(out, key))
    assert not any(seen[key].any() for key in NORMALS)


def test_coco_says_where_it_comes_from_and_numbers_stay(fresh, made, tmp_path):
    whole = json.loads((made("coco") / "annotations/instances_train.json").read_text())
    assert whole["licenses"] == [{"id": 1, "name": "CC0-1.0", "url": ""}]
    assert "ab" * 32 in whole["info"]["contributor"]
    assert all(image["license"] == 1 for image in whole["images"])
    (fresh / "review.jsonl").write_text('{"index": 1, "decision": "reject"}\n')
    fewer = export(read(fresh), "coco", tmp_path / "made", Options(val=0)).folder
    left = json.loads((fewer / "annotations/instances_train.json").read_text())
    numbers = {x["file_name"]: x["id"] for x in whole["images"]}
    assert all(x["id"] == numbers.get(x["file_name"], x["id"]) for x in left["images"])
    assert len({x["id"] for x in left["annotations"]}) == len(left["annotations"])


def yolo_objects(path, size):
    """Classes and polygons in pixels of a label file, as Ultralytics reads it."""
    rows = [line.split() for line in path.read_text().splitlines()]
    assert all(len(row) > 6 and len(row) % 2 == 1 for row in rows)
    return [(int(row[0]), np.array(row[1:], np.float32).reshape(-1, 2) * np.float32(size)) for row in rows]


def test_yolo_polygons_drawn_as_ultralytics_does_are_the_masks(out, made):
    folder = made("yolo")
    check_pictures(out, [folder / "images/train", folder / "images/val"])
    for path in folder.glob("labels/*/*.txt"):
        image = folder / "images" / path.parent.name / f"{path.stem}.png"
        width, height = Image.open(image).size
        drawn = np.zeros((height, width), np.uint8)
        for number, polygon in yolo_objects(path, (width, height)):
            assert number == int(path.stem) % 2
            cv2.fillPoly(drawn, [polygon.astype(np.int32)], 1)
        expected = np.zeros_like(drawn) if path.stem in NORMALS else original(out, path.stem)
        assert np.array_equal(drawn, expected)
    assert sum(1 for _ in folder.glob("labels/*/*.txt")) == 17


@pytest.mark.parametrize("scale", [0.75, 1.25, 2])
def test_large_yolo_shapes_with_holes_keep_their_form_at_other_sizes(tmp_path, scale):
    y, x = np.mgrid[:512, :512]
    radius = np.hypot(x - 250, y - 260)
    mask = (radius < 180) & (radius > 90) & ((x - 250) ** 2 + (y - 130) ** 2 > 900)
    made = export(read(write(tmp_path / "out", [mask])), "yolo", tmp_path / "made").folder
    side = int(512 * scale)
    drawn = np.zeros((side, side), np.uint8)
    for _, polygon in yolo_objects(made / "labels/train/000000.txt", (side, side)):
        cv2.fillPoly(drawn, [polygon.astype(np.int32)], 1)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    expected = cv2.resize(mask.astype(np.float32), (side, side), interpolation=how) >= 0.5
    assert (drawn & expected).sum() / (drawn | expected).sum() >= 0.99


def test_yolo_data_names_classes_and_folders(out, made, tmp_path):
    text = (made("yolo") / "data.yaml").read_text()
    assert '\ntrain: images/train\nval: images/val\nnames:\n  0: "crack"\n  1: "stain"\n' in text
    assert "CC0-1.0" in text
    alone = export(read(out), "yolo", tmp_path / "made", Options(val=0)).folder
    assert "\nval: images/train  # nothing was held out" in (alone / "data.yaml").read_text()
    assert not (alone / "images/val").exists()


def test_mmseg_maps_hold_class_indices_and_black_ones_for_normal_pictures(out, made):
    folder = made("mmseg")
    check_pictures(out, [folder / "img_dir/train", folder / "img_dir/val"])
    for path in folder.glob("ann_dir/*/*.png"):
        indices = picture(path)
        assert indices.dtype == np.uint8
        assert Image.open(path).mode == "L"
        if path.stem in NORMALS:
            assert not indices.any()
            assert indices.shape == (20, 24)
        else:
            assert np.array_equal(indices, original(out, path.stem) * (1 + int(path.stem) % 2))
        assert (folder / "img_dir" / path.parent.name / path.name).exists()


def test_the_config_for_mmseg_is_python_and_names_what_is_there(made):
    folder = made("mmseg")
    tree = ast.parse((folder / "seas_dataset.py").read_text())
    names = {}
    exec(compile(tree, "seas_dataset.py", "exec"), names)
    assert names["metainfo"]["classes"] == ("background", "crack", "stain")
    assert len(set(map(tuple, names["metainfo"]["palette"]))) == 3
    for split in ("train", "val"):
        data = names[f"{split}_dataloader"]["dataset"]
        assert (data["img_suffix"], data["reduce_zero_label"]) == (".png", False)
        assert data["data_root"] == "{{ fileDirname }}"
        assert all((folder / place).is_dir() for place in data["data_prefix"].values())
        assert data["data_prefix"]["img_path"].endswith(split)


def test_mmseg_refuses_more_classes_than_bits(tmp_path):
    data = read(write(tmp_path / "out", [np.eye(4, dtype=bool)], {"defects": [f"d{i}" for i in range(255)]}))
    with pytest.raises(SettingsError, match="255 defect types found, at most 254"):
        export(data, "mmseg", tmp_path / "made")


def test_webdataset_reads_its_shards(out, made):
    folder = made("webdataset", shard_size=5)
    names = sorted(path.name for path in folder.glob("*.tar"))
    assert names == ["train-000000.tar", "train-000001.tar", "train-000002.tar", "val-000000.tar"]
    seen = {}
    for name in names:
        data = webdataset.WebDataset(str(folder / name), shardshuffle=False).decode("pil")
        for sample in data:
            seen[sample["__key__"]] = (sample["png"], sample["mask.png"].convert("L"), sample["json"])
    assert sorted(seen) == sorted(PAIRS + NORMALS)
    for key, (image, mask, facts) in seen.items():
        assert image.size == mask.size
        if key in NORMALS:
            assert (facts["defect"], facts["class"], facts["area"], facts["index"]) == ("good", 0, 0, -1)
            assert not np.asarray(mask).any()
            continue
        expected = original(out, key)
        assert np.array_equal(np.asarray(mask), np.where(expected, 255, 0))
        assert np.array_equal(np.asarray(image), picture(next(out.glob(f"tile/test/*/{key}.png"))))
        assert (facts["area"], facts["class"]) == (expected.sum(), 1 + int(key) % 2)
        assert (facts["run"]["seed"], facts["run"]["verdict"]) == (2**63 + 1, "ok")


def test_tar_headers_say_nothing_of_this_machine_and_samples_are_shuffled(made):
    keys = []
    for path in sorted(made("webdataset", shard_size=5).glob("train-*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                assert (member.mtime, member.uid, member.gid, member.uname, member.mode) == (
                    0,
                    0,
                    0,
                    "",
                    0o644,
                )
                keys.append(member.name.split(".")[0])
    assert set(Counter(keys).values()) == {3}
    assert keys[::3] == keys[1::3] == keys[2::3] != sorted(keys[::3])


def test_labelme_polygons_drawn_as_labelme_does_are_the_masks(out, made):
    folder = made("labelme")
    check_pictures(out, [folder])
    assert (folder / "labels.txt").read_text() == "crack\nstain\n"
    for key in PAIRS + NORMALS:
        data = json.loads((folder / f"{key}.json").read_text())
        assert {"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"} == set(data)
        image = Image.open(folder / data["imagePath"])
        assert image.size == (data["imageWidth"], data["imageHeight"])
        canvas = Image.new("L", image.size)
        for shape in data["shapes"]:
            assert shape["label"] == ("crack", "stain")[int(key) % 2]
            assert shape["shape_type"] == "polygon"
            points = [tuple(point) for point in shape["points"]]
            ImageDraw.Draw(canvas).polygon(points, outline=1, fill=1)
        assert np.array_equal(np.asarray(canvas), original(out, key)) if key in PAIRS else not data["shapes"]


def test_the_hugging_face_folder_has_a_line_for_each_picture_and_names_in_nobodys_way(out, made):
    folder = made("hf")
    check_pictures(out, [folder / "train/images", folder / "validation/images"])
    for split in ("train", "validation"):
        lines = [json.loads(line) for line in (folder / split / "metadata.jsonl").read_text().splitlines()]
        assert len(lines) == len(list((folder / split / "images").iterdir()))
        assert len({tuple((key, type(value)) for key, value in line.items()) for line in lines}) == 1
        for line in lines:
            mask = picture(folder / split / line["mask_file_name"])
            assert mask.shape == picture(folder / split / line["file_name"]).shape[:2]
            key = line["file_name"][7:-4]
            if key in PAIRS:
                assert np.array_equal(mask, np.where(original(out, key), 255, 0))
                assert (line["defect"], line["index"]) == (("crack", "stain")[int(key) % 2], int(key))
            else:
                assert (line["defect"], line["bbox"], mask.any()) == ("good", [0, 0, 0, 0], False)
    words = {part for path in folder.rglob("*") for part in path.relative_to(folder).parts}
    assert not words & {"test", "val", "dev", "eval"}


def test_anomalib_finds_the_mask_of_each_anomaly(out, made):
    """As `make_mvtec_ad_dataset` of anomalib 2.7 pairs them: both lists sorted by path, names that contain each other."""
    folder = made("anomalib") / "tile"
    check_pictures(out, list(folder.glob("t*/*")))
    images = sorted(path for path in folder.glob("test/*/*.png") if path.parent.name != "good")
    truths = sorted(folder.glob("ground_truth/*/*.png"))
    assert len(images) == len(truths) == 12
    for image, truth in zip(images, truths, strict=True):
        assert image.stem in truth.stem
        assert image.parent.name == truth.parent.name
        assert np.array_equal(picture(truth), np.where(original(out, image.stem), 255, 0))
    assert [len(list(folder.glob(f"{part}/good/*.png"))) for part in ("train", "test")] == [4, 1]
    readme = (folder.parent / "README.txt").read_text()
    for word in ("MVTecAD(", 'category="tile"', "Folder(", "test/crack", "ground_truth/stain"):
        assert word in readme


def test_edited_masks_are_in_every_format(fresh, tmp_path):
    edited = np.zeros((30, 40), np.uint8)
    edited[4:9, 7:30] = 255
    (fresh / "review").mkdir()
    Image.fromarray(edited).save(fresh / "review/000000_mask.png")
    (fresh / "review.jsonl").write_text('{"index": 0, "decision": "accept", "mask": "review/000000_mask.png"}\n')
    data = read(fresh, accepted_only=True, own_normals=False)

    def of(name):
        return export(data, name, tmp_path / name, Options(val=0)).folder

    (annotation,) = json.loads((of("coco") / "annotations/instances_train.json").read_text())["annotations"]
    assert (annotation["area"], annotation["bbox"]) == (115, [7, 4, 23, 5])
    (shape,) = json.loads((of("labelme") / "000000.json").read_text())["shapes"]
    assert len(shape["points"]) == 4
    assert len((of("yolo") / "labels/train/000000.txt").read_text().split()) == 9
    assert np.array_equal(picture(of("mmseg") / "ann_dir/train/000000.png"), edited // 255)
    assert np.array_equal(picture(of("hf") / "train/masks/000000.png"), edited)
    assert np.array_equal(picture(of("anomalib") / "tile/ground_truth/crack/000000_mask.png"), edited)
    with tarfile.open(of("webdataset") / "train-000000.tar") as tar:
        mask = Image.open(io.BytesIO(tar.extractfile("000000.mask.png").read()))
        assert np.array_equal(np.asarray(mask), edited)


def test_the_hard_masks_are_hard():
    """Holes, islands and corners are in the masks that all formats above are read back with."""
    holes = [cv2.findContours(x.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[1] for x in masks().values()]
    assert sum((levels[0, :, 3] >= 0).any() for levels in holes) >= 5
