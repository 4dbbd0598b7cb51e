"""VIA 3's tables, by hand; and what of videos is refused, in one line that says what to export instead."""

import json

import pytest

from seas_runtime.dataset.importers.formats import via3
from seas_runtime.dataset.importers.records import BrokenError
from tests.runtime.dataset.truth import dump
from tests.runtime.dataset.written_sources import WRITERS


def project(xy, av=None, options=None, **more):
    attribute = {"7": {"aname": "kind", "options": options or {}}}
    mark = {"vid": "v", "z": [], "xy": xy, "av": av or {}}
    whole = {
        "project": {},
        "attribute": attribute,
        "file": {"f": {"fname": "a.jpg", "type": 2}},
        "view": {"v": {"fid_list": ["f"]}},
    }
    return whole | {"metadata": {"m": mark}} | more


@pytest.mark.parametrize(
    ("xy", "shape"),
    [
        ([1, 3, 4], {"name": "point", "cx": 3, "cy": 4}),
        ([2, 3, 4, 5, 6], {"name": "rect", "x": 3, "y": 4, "width": 5, "height": 6}),
        ([3, 3, 4, 5], {"name": "circle", "cx": 3, "cy": 4, "r": 5}),
        ([4, 3, 4, 5, 6], {"name": "ellipse", "cx": 3, "cy": 4, "rx": 5, "ry": 6}),
        ([5, 1, 2, 3, 4], {"name": "polyline", "all_points_x": [1, 3], "all_points_y": [2, 4]}),
        ([7, 1, 2, 3, 4, 5, 6], {"name": "polygon", "all_points_x": [1, 3, 5], "all_points_y": [2, 4, 6]}),
    ],
)
def test_shapes_are_those_of_version_2(xy, shape):
    ((name, (region,)),) = via3.entries(project(xy))
    assert name == "a.jpg"
    assert region["shape_attributes"] == shape


@pytest.mark.parametrize(
    ("av", "words"),
    [
        ({"7": "1"}, {"kind": "dent"}),
        ({"7": "1,0"}, {"kind": "dent, scratch"}),
        ({"7": "free text"}, {"kind": "free text"}),
        ({"9": "x"}, {"9": "x"}),
    ],
)
def test_options_are_told_by_what_they_stand_for(av, words):
    ((_, (region,)),) = via3.entries(project([1, 2, 3], av, {"0": "scratch", "1": "dent"}))
    assert region["region_attributes"] == words


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (project([2, 1, 2]), "a mark of the kind 2 with 2 numbers"),
        (project([9, 1, 2]), "a mark of the kind 9"),
        (project([7, 1, 2, 3]), "with 3 numbers"),
        (project(["x", 1, 2]), "xy is"),
        (project([1, 2, 3], view={"v": {"fid_list": ["f", "g"]}}), "a view of 2 pictures"),
        (project([1, 2, 3], view={}), "the view of a mark is"),
        (project([1, 2, 3], file={"f": {"fname": "a.mp4", "type": 4}}), "holds a video or a sound"),
        (project([1, 2, 3], metadata={"m": {"vid": "v", "z": [1.0, 2.5], "xy": [1, 2, 3], "av": {}}}), "holds times of a video"),
    ],
)
def test_what_cannot_be_understood(document, said):
    with pytest.raises(BrokenError, match=said):
        via3.entries(document)


def test_a_project_of_a_video_is_refused_with_what_to_export(tmp_path, run):
    WRITERS["via3"](tmp_path / "source")
    file = tmp_path / "source/project.json"
    whole = json.loads(file.read_text())
    whole["file"]["1"]["type"] = 4
    dump(file, whole)
    said = run("--unmarked", "normal", code=3)
    assert "project.json: holds a video or a sound, expected pictures; export its frames as pictures, or VIA 2's JSON" in said


def test_tracks_of_cvat_are_refused_with_what_to_export(tmp_path, run):
    WRITERS["cvat_xml"](tmp_path / "source")
    track = '<track id="0" label="dent"><polygon frame="0" outside="0" points="1,1;9,1;9,9" /></track>'
    (tmp_path / "source/annotations.xml").write_text(f"<annotations><version>1.1</version><meta/>{track}</annotations>")
    said = run("--unmarked", "normal", code=3)
    assert 'annotations.xml: holds the tracks of a video, expected pictures; export "CVAT for images" or COCO' in said
