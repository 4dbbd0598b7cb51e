"""The command itself: a server of its own process, one file, and what it refuses."""

import base64
import hashlib
import io
import json
import re
import sys
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner
from PIL import Image

from seas_runtime.dataset.review.cli import review
from seas_runtime.dataset.review.pairs import Pairs
from seas_runtime.dataset.review.serve import held
from seas_runtime.dataset.review.static import choose
from seas_runtime.errors import DataError, OutputError

from .fabricated import decided, write_run, write_training
from .serving import end, start

REFUSED = 403


def ask(address, path, **options):
    base, token = address.split("/?token=")
    headers = {"X-Seas-Token": token, "Origin": base}
    with urllib.request.urlopen(urllib.request.Request(base + path, headers=headers, **options), timeout=10) as answer:
        return answer.read()


def run(*words):
    return CliRunner().invoke(review, [str(word) for word in words])


def test_a_server_until_ctrl_c(out):
    process, address = start(out)
    try:
        assert address.startswith("http://127.0.0.1:")
        assert b"<main" in urllib.request.urlopen(address, timeout=10).read()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(address[:-1], timeout=10)
        assert refused.value.code == REFUSED
        ask(address, "/api/decisions", data=b'{"decisions": [[0, "accept"], [1, "reject"]]}', method="POST")
        assert len(decided(out)) == 2
        second = run(out, "--no-browser")
        assert second.exit_code == 5
        assert "open in another seas-data review" in second.output
    finally:
        code, said = end(process)
    assert code == 0
    assert "12 pairs: 1 accepted, 1 rejected, 10 undecided, 0 masks mended" in said
    assert "Traceback" not in said
    assert not (out / "review").exists()


def test_another_may_look_while_one_decides(out):
    with held(out):
        process, address = start(out, "--read-only")
        try:
            assert json.loads(ask(address, "/api/gallery"))["readOnly"]
        finally:
            assert end(process)[0] == 0


def test_a_port_that_is_taken_is_told(out):
    process, address = start(out, "--read-only")
    try:
        port = re.search(r":(\d+)/", address)[1]
        said = run(out, "--read-only", "--port", port, "--no-browser")
    finally:
        end(process)
    assert said.exit_code == 2
    assert f"--port {port}" in said.output


def test_a_killed_page_leaves_its_folder_free(out):
    process, _ = start(out)
    process.kill()
    process.communicate(timeout=30)
    with held(out):
        pass
    assert not (out / "review").exists()


@pytest.mark.parametrize("name", ["review", "review/.seas-lock", "review.jsonl"])
def test_a_link_where_decisions_go_is_refused(out, tmp_path, name):
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="is a link"), held(out):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_written_is_told(out):
    (out / "review").touch()
    with pytest.raises(OutputError, match="--read-only"), held(out):
        pass


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["no"], 3, "no such folder"),
        (["--static", "x.txt", "--port", "1"], 2, "leave --port"),
        (["--limit", "3"], 2, "--limit goes with --static"),
        (["--training", "no"], 3, "--training"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(out, words, code, said):
    result = run(*([out, *words] if words != ["no"] else [out / "no"]))
    assert (result.exit_code, said in result.output) == (code, True), result.output


def test_without_the_extra_the_mend_is_named(out, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "seas_runtime.dataset.review.serve", raising=False)
    result = run(out)
    assert result.exit_code == 2
    assert 'pip install "seas-gen[review]"' in result.output


def embedded(page):
    return json.loads(re.search(r'id="embedded">(.*?)</script>', page, re.DOTALL)[1])


def test_one_file_has_everything_in_it(out, tmp_path):
    training = write_training(tmp_path / "data")
    file = tmp_path / "page.html"
    result = run(out, "--training", training, "--static", file)
    page = file.read_text()
    assert f"{file}: 12 of 12 pairs, {len(page.encode()) / 1e6:.1f} MB" in result.output
    data = embedded(page)
    assert [row[0] for row in data["page"]["rows"]] == list(range(12))
    picture, overlay = (base64.b64decode(text) for text in data["views"]["3"])
    assert Image.open(io.BytesIO(picture)).format == "JPEG"
    assert Image.open(io.BytesIO(overlay)).size == (16, 16)
    assert data["gallery"]["readOnly"]
    assert sorted(map(int, data["reals"])) == list(range(6))
    assert data["figures"]["/"]["generated"]["count"] == 12
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert sorted(path.name for path in out.iterdir()) == ["metadata.jsonl", "run.json", "tile"]


def test_the_one_file_runs_its_own_script_and_no_other(out, tmp_path):
    run(out, "--static", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    script = re.search(r'<script type="module">(.*?)</script>', page, re.DOTALL)[1]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    for text, kind in ((script, "script-src"), (style, "style-src")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)


def test_a_limit_takes_evenly_from_each_type(tmp_path):
    out = write_run(tmp_path / "run", 30)
    pairs = Pairs(out).slice(0, 30)
    chosen = choose(pairs, 9)
    assert [pair.index for pair in chosen] == [0, 1, 2, 9, 10, 11, 18, 19, 20]
    assert len(choose(pairs, 100)) == 30
    assert [pair.defect for pair in choose(pairs, 2)] == ["crack", "hole"]
    uneven = [*pairs[:1], *(pair for pair in pairs if pair.defect == "hole")]
    assert len(choose(uneven, 6)) == 6
    result = run(out, "--static", tmp_path / "p.html", "--limit", 4)
    assert "4 of 30 pairs" in result.output
    assert len(embedded((tmp_path / "p.html").read_text())["views"]) == 4


def test_a_name_in_the_data_cannot_end_the_script(tmp_path):
    out, training = write_run(tmp_path / "run", 3), write_training(tmp_path / "training")
    for part in ("test", "ground_truth"):
        (training / part / "crack").rename(training / part / "<!--<script>")
    run(out, "--static", tmp_path / "p.html", "--training", training)
    page = (tmp_path / "p.html").read_text()
    assert "<!--<script>" not in page
    assert '"<!--<script>"' in json.dumps(embedded(page))


@pytest.mark.parametrize("where", ["no/page.html", ""])
def test_a_file_that_cannot_be_written_is_told(out, tmp_path, where):
    result = run(out, "--static", tmp_path / where)
    assert result.exit_code in {2, 5}
    assert result.output.strip().count("\n") <= 3
