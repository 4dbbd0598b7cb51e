"""What the server answers, and to whom."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from seas_runtime.dataset.review.access import Guard
from seas_runtime.dataset.review.assets import read_assets
from seas_runtime.dataset.review.gallery import Gallery
from seas_runtime.dataset.review.log import Decisions
from seas_runtime.dataset.review.server import application

from .fabricated import append, decided, line, picture, square, write_training

BASE = "http://127.0.0.1:8123"
TOKEN = "the-token-of-this-page"
OWN = {"Origin": BASE}


@pytest.fixture
def guard(gallery):
    return Guard(application(gallery), TOKEN)


@pytest.fixture
def client(guard):
    """A browser that has opened the page."""
    with TestClient(guard, base_url=BASE) as client:
        assert client.get(f"/?token={TOKEN}").status_code == 200
        yield client


@pytest.fixture
def stranger(guard):
    """One that has not."""
    return TestClient(guard, base_url=BASE)


def test_the_page_and_all_its_files(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "<main" in page.text
    for name, (data, kind) in read_assets().items():
        answer = client.get(f"/page/{name}")
        assert answer.content == data
        assert answer.headers["content-type"].startswith(kind)


def test_every_answer_forbids_what_a_page_could_be_led_to(client, stranger):
    for answer in (client.get("/"), client.get("/pair/0/image.png"), client.get("/no"), stranger.get("/")):
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert policy["frame-ancestors"] == "'none'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_nothing_without_the_token(stranger, out):
    for path in (
        "/",
        "/?token=",
        "/?token=wrong",
        "/page/main.js",
        "/api/gallery",
        "/pair/0/image.png",
        "/no",
    ):
        assert stranger.get(path).status_code == 403, path
    assert stranger.get("/api/gallery", headers={"X-Seas-Token": TOKEN[:-1]}).status_code == 403
    assert stranger.get("/api/gallery", headers={"X-Seas-Token": "\u00fc".encode()}).status_code == 403
    assert stranger.get(f"/api/gallery?token={TOKEN}").status_code == 403  # opens the page alone
    assert stranger.post("/api/decisions", json={"decisions": [[0, "accept"]]}, headers=OWN).status_code == 403
    assert not (out / "review.jsonl").exists()


def test_the_token_in_the_address_sets_a_cookie_for_this_page_alone(stranger):
    cookie = stranger.get(f"/?token={TOKEN}").headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert stranger.get("/api/gallery").status_code == 200


def test_a_script_may_give_the_token_in_a_header(stranger):
    assert stranger.get("/api/gallery", headers={"X-Seas-Token": TOKEN}).json()["product"] == "tile"


def test_a_token_for_once_opens_the_page_once(guard, stranger):
    once = guard.once()
    assert stranger.get(f"/?token={once}").status_code == 200
    assert TestClient(guard, base_url=BASE).get(f"/?token={once}").status_code == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8123",
        "127.0.0.1.evil.example:8123",
        "192.168.0.1:8123",
        "",
        "[::1]:8123",
    ],
)
def test_no_other_host_name_may_point_here(client, host):
    """DNS rebinding: a name of somebody else that leads to this machine."""
    assert client.get("/api/gallery", headers={"Host": host}).status_code == 403
    assert client.get(f"/?token={TOKEN}", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8123", "localhost:8123", "LOCALHOST:9999", "127.0.0.1"])
def test_this_machine_may_also_be_reached_by_a_tunnel(client, host):
    assert client.get("/api/gallery", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://127.0.0.1:9999",
        "https://127.0.0.1:8123",
        "http://localhost:8123",
        "null",
        "",
    ],
)
def test_no_other_page_may_decide(client, out, origin):
    body = {"decisions": [[0, "accept"]]}
    assert client.post("/api/decisions", json=body, headers={"Origin": origin}).status_code == 403
    assert client.put("/api/masks/0?base=0", content=bytes(32), headers={"Origin": origin}).status_code == 403
    assert client.delete("/api/masks/0?base=0", headers={"Origin": origin}).status_code == 403
    assert client.get("/api/pairs", headers={"Origin": origin}).status_code == 403
    assert not (out / "review.jsonl").exists()


def test_a_decision_without_origin_is_none(client, out):
    assert client.post("/api/decisions", json={"decisions": [[0, "accept"]]}).status_code == 403
    assert not (out / "review.jsonl").exists()


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_no_other_page_may_show_pictures_by_the_cookie(client, site):
    """A page at another port is of the same site, so the cookie comes along."""
    assert client.get("/pair/0/image.png", headers={"Sec-Fetch-Site": site}).status_code == 403
    assert client.get("/", headers={"Sec-Fetch-Site": site}).status_code == 403
    assert client.get(f"/?token={TOKEN}", headers={"Sec-Fetch-Site": site}).status_code == 200  # a link that was clicked
    assert client.get("/pair/0/image.png", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_decisions_are_in_the_file(client, out):
    answer = client.post("/api/decisions", json={"decisions": [[0, "accept"], [5, "reject"]]}, headers=OWN)
    assert answer.json() == {"changes": [[0, 0, False, 0], [5, 1, False, 0]]}
    assert [(one["index"], one["decision"]) for one in decided(out)] == [(0, "accept"), (5, "reject")]
    client.post("/api/decisions", json={"decisions": [[0, "undecided"]]}, headers=OWN)
    assert client.get("/api/changes?revision=0&surveyed=0").json()["changes"] == [
        [0, 2, False, 0],
        [5, 1, False, 0],
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"[]", 400), (b"{}", 400), (b"\xff", 400), (b"[" * 100_000, 400), (b'{"decisions": []}', 400),
        (b'{"decisions": [[0]]}', 400), (b'{"decisions": [[0, "delete"]]}', 400), (b'{"decisions": [[-1, "accept"]]}', 400),
        (b'{"decisions": [[true, "accept"]]}', 400), (b'{"decisions": [["0", "accept"]]}', 400),
        (b'{"decisions": [[0, ["accept"]]]}', 400),
        (b'{"decisions": [[12, "accept"]]}', 404), (b'{"decisions": [[0, "accept"], [99, "accept"]]}', 404),
        (b" " * ((1 << 23) + 1), 413),
    ],
)  # fmt: skip
def test_what_is_no_decision_is_refused(client, out, body, status):
    answer = client.post("/api/decisions", content=body, headers=OWN)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert not (out / "review.jsonl").exists()


def test_a_mask_is_mended_and_restored(client, out):
    mask = np.random.default_rng(2).random((16, 16)) > 0.5
    changed = client.put("/api/masks/4?base=0", content=np.packbits(mask).tobytes(), headers=OWN).json()["changes"][0]
    assert changed[:3] == [4, 2, True]
    assert np.array_equal(np.asarray(Image.open(out / "review/000004_mask.png")) == 255, mask)
    shown = Image.open(io.BytesIO(client.get("/pair/4/mask.png").content))
    assert np.array_equal(np.asarray(shown) == 255, mask)
    generated = Image.open(io.BytesIO(client.get("/pair/4/mask.png?generated=1").content))
    assert np.array_equal(np.asarray(generated) == 255, square(4, 16))
    assert client.put("/api/masks/4?base=0", content=bytes(32), headers=OWN).status_code == 409
    assert client.put(f"/api/masks/4?base={changed[3]}", content=bytes(31), headers=OWN).status_code == 404
    assert client.delete(f"/api/masks/4?base={changed[3]}", headers=OWN).json()["changes"][0][2] is False
    assert not (out / "review/000004_mask.png").exists()


def test_pictures(client):
    original = client.get("/pair/7/image.png")
    assert original.headers["content-type"] == "image/png"
    assert "immutable" in original.headers["cache-control"]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(original.content))), picture(7, 16))
    for path in (
        "/pair/12/image.png",
        "/pair/0/huge",
        "/real/0/thumb",
        "/pair/-1/image.png",
        "/pair/x/image.png",
        "/pair/99999999999999999999/image.png",
    ):
        assert client.get(path).status_code == 404, path


def test_small_pictures_come_in_batches(client):
    views = client.get("/api/views?pairs=7,3,12").json()
    assert views["12"] is None
    for index in (7, 3):
        small, overlay = (Image.open(io.BytesIO(base64.b64decode(text))) for text in views[str(index)])
        assert (small.format, small.size, overlay.format) == ("JPEG", (16, 16), "PNG")
        assert np.array_equal(np.asarray(overlay.convert("RGBA"))[..., 3] == 90, square(index, 16))
    for pairs in ("", "x", "1,,2", "-1", ",".join(["1"] * 65)):
        assert client.get(f"/api/views?pairs={pairs}").status_code == 400, pairs


def test_real_anomalies_are_served(out, log, tmp_path):
    gallery = Gallery(out, log, write_training(tmp_path / "data"))
    with TestClient(Guard(application(gallery), TOKEN), base_url=BASE, headers={"X-Seas-Token": TOKEN}) as client:
        assert len(client.get("/api/gallery").json()["reals"]) == 6
        assert client.get("/real/5/large").headers["content-type"] == "image/jpeg"
        assert client.get("/real/6/large").status_code == 404
        assert client.get("/api/figures?type=crack").json()["cells"] == 24


def test_a_picture_outside_the_folder_or_damaged_is_told(client, out, tmp_path):
    (tmp_path / "secret.png").write_bytes((out / "tile/test/crack/000000.png").read_bytes())
    (out / "tile/test/crack/000003.png").unlink()
    (out / "tile/test/crack/000003.png").symlink_to(tmp_path / "secret.png")
    (out / "tile/test/crack/000006.png").write_bytes(b"<script>")
    (out / "tile/test/crack/000009.png").unlink()
    for index in (3, 6, 9):
        answer = client.get(f"/pair/{index}/image.png")
        assert answer.status_code == 404
        assert f"{index:06d}.png" in answer.json()["error"]
    assert set(client.get("/api/views?pairs=3,6,9").json().values()) == {None}


@pytest.mark.parametrize(
    "query",
    ["revision=x&surveyed=0", "revision=-1&surveyed=0", "revision=99999999999999999", "revision=\u0663"],
)
def test_odd_numbers_are_refused(client, query):
    assert client.get(f"/api/changes?{query}").status_code == 400


def test_figures_of_an_unknown_decision_are_refused(client):
    assert client.get("/api/figures?decision=delete").status_code == 400
    assert client.get("/api/figures?type=no").json()["generated"]["count"] == 0


def test_pairs_come_in_parts_and_while_the_run_writes(client, out):
    assert len(client.get("/api/pairs?from=0&count=5").json()["rows"]) == 5
    append(out, line(12))
    assert client.get("/api/changes?revision=0&surveyed=0").json()["total"] == 13
    assert [row[0] for row in client.get("/api/pairs?from=10").json()["rows"]] == [10, 11, 12]


def test_read_only_changes_nothing(out):
    with TestClient(
        Guard(application(Gallery(out, Decisions(out))), TOKEN),
        base_url=BASE,
        headers={"X-Seas-Token": TOKEN},
    ) as client:
        for answer in (
            client.post("/api/decisions", json={"decisions": [[0, "accept"]]}, headers=OWN),
            client.put("/api/masks/0?base=0", content=bytes(32), headers=OWN),
            client.delete("/api/masks/0?base=0", headers=OWN),
        ):
            assert answer.status_code == 403
            assert "--read-only" in json.loads(answer.content)["error"]
    assert sorted(path.name for path in out.iterdir()) == ["metadata.jsonl", "run.json", "tile"]


def test_a_disk_that_fails_is_told(client, out):
    (out / "review.jsonl").mkdir()
    answer = client.post("/api/decisions", json={"decisions": [[0, "accept"]]}, headers=OWN)
    assert answer.status_code == 507
    assert "review.jsonl" in answer.json()["error"]
