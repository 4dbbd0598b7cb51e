"""One small truth, written as every annotation tool writes it."""

import base64
import json
import zlib

import numpy as np
from PIL import Image
from pycocotools import mask as pycocotools_mask

from tests.runtime.dataset.truth import COLOURS, HEIGHT, TRUTH, WIDTH, dump, png, save_mask, write_normals, write_photographs


def labelme(root):
    write_photographs(root)
    write_normals(root / "good")
    for one in TRUTH:
        shape = {"label": one.title, "points": one.outline.tolist(), "shape_type": "polygon", "flags": {}}
        fields = {
            "version": "5.0.1",
            "flags": {},
            "shapes": [shape],
            "imagePath": f"{one.name}.jpg",
            "imageData": None,
        }
        dump(root / f"{one.name}.json", fields | {"imageHeight": HEIGHT, "imageWidth": WIDTH})


def labelme_mask(root):
    labelme(root)
    for one in TRUTH:
        rows, columns = np.nonzero(one.mask)
        top, left, bottom, right = rows.min(), columns.min(), rows.max(), columns.max()
        inside = base64.b64encode(png(one.mask[top : bottom + 1, left : right + 1])).decode()
        file = root / f"{one.name}.json"
        fields = json.loads(file.read_text())
        corners = [[int(left), int(top)], [int(right), int(bottom)]]
        fields["shapes"] = [{"label": one.title, "points": corners, "shape_type": "mask", "mask": inside}]
        dump(file, fields)


def _coco(root, segmentation, images="images/default"):
    write_photographs(root / images)
    write_normals(root / images / "good")
    titles = sorted(COLOURS)
    entries, annotations = [], []
    for i, one in enumerate(TRUTH):
        entries.append({"id": i + 1, "file_name": f"{one.name}.jpg", "width": WIDTH, "height": HEIGHT})
        annotations.append(
            {
                "id": i + 7,
                "image_id": i + 1,
                "category_id": titles.index(one.title) + 1,
                "segmentation": segmentation(one),
            }
        )
    categories = [{"id": i + 1, "name": title} for i, title in enumerate(titles)]
    whole = {"licenses": [], "images": entries, "annotations": annotations, "categories": categories}
    dump(root / "annotations/instances_default.json", whole)


def coco_polygons(root):
    _coco(root, lambda one: [one.outline.ravel().tolist()])


def coco_rle(root):
    def code(one):
        runs = pycocotools_mask.encode(np.asfortranarray(one.mask.astype(np.uint8)))
        return {"size": runs["size"], "counts": runs["counts"].decode()}

    _coco(root, code)


def coco_runs(root):
    def code(one):
        flat = np.concatenate(([False], one.mask.ravel(order="F"), [False]))
        edges = np.flatnonzero(flat[1:] != flat[:-1])
        return {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *edges, one.mask.size]).tolist()}

    _coco(root, code)


def cvat_xml(root):
    write_photographs(root / "images")
    write_normals(root / "images/normal")
    lines = ["<?xml version='1.0' encoding='utf-8'?>", "<annotations><version>1.1</version><meta/>"]
    for i, one in enumerate(TRUTH):
        lines.append(f'<image id="{i}" name="{one.name}.jpg" width="{WIDTH}" height="{HEIGHT}">')
        if i == 1:
            rows, columns = np.nonzero(one.mask)
            top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
            flat = np.concatenate(([False], one.mask[top:bottom, left:right].ravel()))
            edges = np.flatnonzero(flat[1:] != flat[:-1])
            runs = np.diff([0, *edges, flat.size - 1]).tolist()
            lines.append(
                f'<mask label="{one.title}" rle="{", ".join(map(str, runs))}" left="{left}" top="{top}" '
                f'width="{right - left}" height="{bottom - top}" z_order="0"/>'
            )
        else:
            points = ";".join(f"{x:.2f},{y:.2f}" for x, y in one.outline)
            lines.append(f'<polygon label="{one.title}" points="{points}" z_order="0"></polygon>')
        lines.append("</image>")
    (root / "annotations.xml").write_text("\n".join([*lines, "</annotations>"]), encoding="utf-8")


def cvat_masks(root):
    write_photographs(root / "JPEGImages")
    write_normals(root / "JPEGImages/good")
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    lines += [f"{title}:{','.join(map(str, colour))}::" for title, colour in COLOURS.items()]
    (root / "labelmap.txt").write_text("\n".join(lines))
    for one in TRUTH:
        colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        colours[one.mask] = COLOURS[one.title]
        (root / "SegmentationClass").mkdir(exist_ok=True)
        Image.fromarray(colours).save(root / f"SegmentationClass/{one.name}.png")
        (root / "SegmentationObject").mkdir(exist_ok=True)
        Image.fromarray(colours).save(root / f"SegmentationObject/{one.name}.png")


def _task(i, one, result):
    base = {
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "from_name": "label",
        "to_name": "image",
    }
    return {
        "id": i + 1,
        "file_upload": f"0a1b2c3d-{one.name}.jpg",
        "data": {"image": f"/data/upload/1/0a1b2c3d-{one.name}.jpg"},
        "annotations": [{"id": i + 4, "was_cancelled": False, "result": [{**base, **result}]}],
    }


def label_studio(root):
    write_photographs(root)
    write_normals(root / "good")
    share = np.array((100 / WIDTH, 100 / HEIGHT))
    tasks = []
    for i, one in enumerate(TRUTH):
        value = {"points": (one.outline * share).tolist(), "closed": True, "polygonlabels": [one.title]}
        tasks.append(_task(i, one, {"type": "polygonlabels", "value": value}))
    dump(root / "project-1-at-2024.json", tasks)


def label_studio_brush(root):
    write_photographs(root)
    write_normals(root / "good")
    tasks = [
        _task(
            i,
            one,
            {
                "type": "brushlabels",
                "value": {"format": "rle", "rle": brush(one.mask), "brushlabels": [one.title]},
            },
        )
        for i, one in enumerate(TRUTH)
    ]
    dump(root / "export.json", tasks)


def label_studio_min(root):
    write_photographs(root)
    write_normals(root / "good")
    share = np.array((100 / WIDTH, 100 / HEIGHT))
    tasks = []
    for i, one in enumerate(TRUTH):
        drawn = {
            "points": (one.outline * share).tolist(),
            "polygonlabels": [one.title],
            "original_width": WIDTH,
            "original_height": HEIGHT,
        }
        image = f"/data/local-files/?d=photos%2F{one.name}.jpg"
        tasks.append({"image": image, "id": i, "label": [drawn], "annotator": 1, "annotation_id": 3, "lead_time": 5.5})
    dump(root / "min.json", tasks)


def label_studio_png(root):
    """Masks as PNG files, and a list of tasks that says their pictures."""
    write_photographs(root)
    write_normals(root / "good")
    for i, one in enumerate(TRUTH):
        save_mask(root / f"masks/task-{i + 1}-annotation-{i + 9}-by-1-tag-{one.title}-0.png", one.mask)
    dump(
        root / "tasks.json",
        [{"id": i + 1, "data": {"image": f"x/{one.name}.jpg"}} for i, one in enumerate(TRUTH)],
    )


def brush(mask):
    """A mask in Label Studio's code: the header, then runs of at most 65536 equal bytes of RGBA."""
    alpha = np.repeat(mask.ravel().astype(np.uint8) * 255, 4)
    bits = [f"{alpha.size:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in (3, 4, 8, 16))]
    starts = np.flatnonzero(np.concatenate(([True], alpha[1:] != alpha[:-1])))
    for start, end in zip(starts, [*starts[1:], alpha.size], strict=True):
        length = int(end - start)
        while length > 0:
            some = min(length, 65536)
            bits.append(f"1{3:02b}{some - 1:016b}{alpha[start]:08b}")
            length -= some
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]


def _via_regions(one):
    shape = {
        "name": "polygon",
        "all_points_x": one.outline[:, 0].tolist(),
        "all_points_y": one.outline[:, 1].tolist(),
    }
    return [{"shape_attributes": shape, "region_attributes": {"type": one.title}}]


def via(root):
    write_photographs(root)
    write_normals(root / "good")
    entries = {
        f"{one.name}.jpg1234": {
            "filename": f"{one.name}.jpg",
            "size": 1234,
            "regions": _via_regions(one),
            "file_attributes": {},
        }
        for one in TRUTH
    }
    dump(root / "via_project.json", {"_via_settings": {}, "_via_img_metadata": entries, "_via_attributes": {}})


def via3(root):
    """A project of version 3: options of an attribute by their numbers, outlines as one list after the shape's number."""
    write_photographs(root)
    write_normals(root / "good")
    titles = sorted(COLOURS)
    options = {str(i): title for i, title in enumerate(titles)}
    files, views, marks = {}, {}, {}
    for i, one in enumerate(TRUTH, 1):
        files[str(i)] = {"fid": str(i), "fname": f"{one.name}.jpg", "type": 2, "loc": 1, "src": ""}
        views[str(i)] = {"fid_list": [str(i)]}
        chosen = str(titles.index(one.title))
        marks[f"{i}_a1"] = {"vid": str(i), "flg": 0, "z": [], "xy": [7, *one.outline.ravel().tolist()], "av": {"1": chosen}}
        marks[f"{i}_b2"] = {"vid": str(i), "flg": 0, "z": [], "xy": [], "av": {}}
    attribute = {"1": {"aname": "defect", "anchor_id": "FILE1_Z0_XY1", "type": 3, "options": options, "default_option_id": ""}}
    whole = {"project": {"pid": "__VIA_PROJECT_ID__", "data_format_version": "3.1.1"}, "config": {}, "attribute": attribute}
    dump(root / "project.json", whole | {"file": files, "metadata": marks, "view": views})


def via_csv(root):
    write_photographs(root)
    write_normals(root / "good")
    lines = ["filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"]
    for one in TRUTH:
        region = _via_regions(one)[0]
        cells = [json.dumps(region[key]).replace('"', '""') for key in ("shape_attributes", "region_attributes")]
        lines.append(f'{one.name}.jpg,1234,"{{}}",1,0,"{cells[0]}","{cells[1]}"')
    (root / "via_csv.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def yolo(root):
    write_photographs(root / "images/train")
    write_normals(root / "images/good")
    titles = sorted(COLOURS)
    (root / "labels/train").mkdir(parents=True)
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nnames:\n  0: dent\n  1: 'scratch'\n")
    for one in TRUTH:
        shares = (one.outline / (WIDTH, HEIGHT)).ravel()
        line = " ".join([str(titles.index(one.title)), *(f"{value:.6f}" for value in shares)])
        (root / f"labels/train/{one.name}.txt").write_text(line + "\n")


def supervisely(root):
    write_photographs(root / "ds0/img")
    write_normals(root / "ds0/img/good")
    dump(
        root / "meta.json",
        {"classes": [{"title": title, "shape": "any", "color": "#fff"} for title in COLOURS], "tags": []},
    )
    for i, one in enumerate(TRUTH):
        thing = {"classTitle": one.title, "tags": []}
        if i == 1:
            rows, columns = np.nonzero(one.mask)
            top, left = int(rows.min()), int(columns.min())
            inside = one.mask[top : rows.max() + 1, left : columns.max() + 1]
            data = base64.b64encode(zlib.compress(png(inside))).decode()
            thing |= {"geometryType": "bitmap", "bitmap": {"data": data, "origin": [left, top]}}
        else:
            thing |= {"geometryType": "polygon", "points": {"exterior": one.outline.tolist(), "interior": []}}
        size = {"height": HEIGHT, "width": WIDTH}
        dump(
            root / f"ds0/ann/{one.name}.jpg.json",
            {"description": "", "tags": [], "size": size, "objects": [thing]},
        )


def masks(root):
    for one in TRUTH:
        write_photographs(root / "bad" / one.title, [one])
        save_mask(root / f"masks/{one.title}/{one.name}_mask.png", one.mask)
    write_normals(root / "good")


def voc_polygons(root):
    """VOC's XML with outlines, as Roboflow writes it."""
    write_photographs(root)
    write_normals(root / "good")
    for one in TRUTH:
        corners = "".join(f"<x{i}>{x}</x{i}><y{i}>{y}</y{i}>" for i, (x, y) in enumerate(one.outline.tolist(), 1))
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
        (root / f"{one.name}.xml").write_text(
            f"<annotation><filename>{one.name}.jpg</filename><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
            f"<object><name>{one.title}</name>{box}<polygon>{corners}</polygon></object></annotation>"
        )


WRITERS = {
    writer.__name__: writer
    for writer in (
        labelme,
        labelme_mask,
        coco_polygons,
        coco_rle,
        coco_runs,
        cvat_xml,
        cvat_masks,
        label_studio,
        label_studio_brush,
        label_studio_min,
        label_studio_png,
        via,
        via3,
        via_csv,
        yolo,
        supervisely,
        masks,
        voc_polygons,
    )
}
