"""Pictures of masks as people have them: values, colours, soft edges, alpha, inverted, other sizes."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.runtime.dataset.masked import DISC, OTHER, SIZE, check, levels, save_each
from tests.runtime.dataset.truth import iou, save_mask


@pytest.mark.parametrize("value", [1, 255, 200])
def test_two_values_whatever_they_are(value, unmasked, run, product):
    save_each(unmasked, lambda mask: levels(mask, value))
    assert "Doubts" not in run()
    check(product)


def test_masks_of_0_and_1_beside_masks_of_0_and_255(unmasked, run, product):
    save_each(unmasked, lambda mask: levels(mask, 1 if mask is DISC else 255))
    assert "Doubts" not in run()
    check(product)


@pytest.mark.parametrize("mode", ["1", "I;16", "RGB", "P", "LA"])
def test_any_mode(mode, unmasked, run, product):
    def make(mask):
        if mode == "I;16":
            return Image.fromarray(mask.astype(np.uint16) * 65535)
        image = levels(mask, 255)
        return image.convert(mode)

    save_each(unmasked, make)
    assert "Doubts" not in run()
    check(product)


def test_a_palette_whose_colours_are_all_black_counts_by_its_numbers(unmasked, run, product):
    def make(mask):
        image = Image.fromarray(mask.astype(np.uint8))
        image = image.convert("P")
        image.putpalette([0, 0, 0] * 256)
        return image

    save_each(unmasked, make)
    run()
    check(product)


def test_class_numbers_are_types_and_get_names(unmasked, run, product):
    for i, mask in enumerate((DISC, OTHER, DISC)):
        Image.fromarray((mask * [1, 2, 1][i]).astype(np.uint8)).save(unmasked / f"masks/{i}.png")
    said = run("--dry-run")
    assert "masks hold the numbers 1, 2, taken as types" in said
    assert "class_1" in said
    run("--type", "1=Kratzer", "--type", "2=Loch")
    assert product.names("test") == ["Kratzer", "Loch"]
    assert np.array_equal(product.mask("Kratzer/0"), DISC)
    assert np.array_equal(product.mask("Loch/1"), OTHER)


def test_colours_are_types_by_a_table(unmasked, run, product):
    def make(*parts):
        colours = np.zeros((*SIZE[::-1], 3), np.uint8)
        for mask, colour in parts:
            colours[mask] = colour
        return Image.fromarray(colours)

    make((DISC, (255, 0, 0))).save(unmasked / "masks/0.png")
    make((OTHER, (0, 200, 40))).save(unmasked / "masks/1.png")
    make((DISC, (255, 0, 0)), (OTHER, (0, 200, 40))).save(unmasked / "masks/2.png")
    said = run("--dry-run")
    assert "masks hold the colours #00c828, #ff0000, taken as types" in said
    assert "nobody named #00c828 as colour_00c828, #ff0000 as red; --type '#00c828=NAME' does" in said
    run("--type", "#FF0000=dent", "--type", "0, 200, 40=crack")
    assert product.names("test") == ["combined", "crack", "dent"]
    assert np.array_equal(product.mask("dent/0"), DISC)
    assert np.array_equal(product.mask("combined/2"), DISC | OTHER)
    areas = next(record["areas"] for record in product.record["pictures"] if record["file"] == "test/combined/2.jpg")
    assert areas == {"crack": OTHER.sum(), "dent": DISC.sum()}


def test_a_colour_may_be_left_out(unmasked, run, product):
    colours = np.zeros((*SIZE[::-1], 3), np.uint8)
    colours[DISC], colours[OTHER] = (255, 0, 0), (0, 0, 255)
    for i in range(3):
        Image.fromarray(colours).save(unmasked / f"masks/{i}.png")
    run("--type", "#ff0000=dent", "--type", "blue=")
    assert np.array_equal(product.mask("dent/0"), DISC)


def test_soft_edges_are_cut_at_half(unmasked, run, product):
    def make(mask):
        drawing = Image.new("L", (SIZE[0] * 8, SIZE[1] * 8))
        for x, y, radius in ((100, 80, 40),) * int(mask[80, 100]) + ((180, 130, 25),) * int(mask[130, 180]):
            corners = [8 * side for side in (x - radius, y - radius, x + radius, y + radius)]
            ImageDraw.Draw(drawing).ellipse(corners, fill=255)
        return drawing.resize(SIZE, Image.Resampling.BOX)

    save_each(unmasked, make)
    said = run()
    assert "soft edges: marked is what is at least 128 of 255" in said
    assert "Doubts" not in said
    check(product, least=0.99)


def test_jpeg_masks_are_cut_at_half(unmasked, run, product):
    save_each(unmasked, lambda mask: levels(mask, 255), ".jpg", quality=60)
    assert "Doubts" not in run()
    check(product, least=0.99)


def test_jpeg_colours_count_for_the_nearest_and_are_doubted(unmasked, run, product):
    def make(mask):
        colours = np.zeros((*SIZE[::-1], 3), np.uint8)
        colours[mask & DISC] = (230, 30, 30)
        colours[mask & OTHER] = (30, 60, 230)
        return Image.fromarray(colours)

    save_each(unmasked, make, ".jpg", quality=90, subsampling=0)
    said = run(code=3)
    assert "each pixel counts for the nearest of these colours" in said
    run("--yes")
    names = sorted(product.names("test"))
    assert len(names) == 3
    assert "combined" in names
    assert iou(product.mask("combined/2"), DISC | OTHER) > 0.97


def test_alpha_is_a_mask(unmasked, run, product):
    def make(mask):
        pixels = np.zeros((*SIZE[::-1], 4), np.uint8)
        pixels[..., 3] = mask * 255
        return Image.fromarray(pixels)

    save_each(unmasked, make)
    run()
    check(product)


def test_colours_on_nothing_are_a_mask(unmasked, run, product):
    def make(mask):
        pixels = np.full((*SIZE[::-1], 4), (200, 30, 30, 0), np.uint8)
        pixels[mask, 3] = 255
        return Image.fromarray(pixels)

    save_each(unmasked, make)
    run()
    check(product)


def test_inverted_masks_are_seen_and_doubted(unmasked, run, product):
    save_each(unmasked, lambda mask: levels(mask, 0, 255))
    said = run(code=3)
    assert "3 of 3 masks are bright in more than half of their area: they look inverted" in said
    assert not product.root.exists()
    run("--inverted", "yes")
    check(product)


def test_a_large_defect_is_not_inverted_where_the_user_says_so(unmasked, run, product):
    save_each(unmasked, lambda mask: levels(~mask, 255))
    run("--inverted", "no", "--yes")
    assert np.array_equal(product.mask("anomaly/0"), ~DISC)


@pytest.mark.parametrize("factor", [2, 0.5])
def test_masks_of_another_size_are_scaled(factor, unmasked, run, product):
    size = (int(SIZE[0] * factor), int(SIZE[1] * factor))
    save_each(unmasked, lambda mask: levels(mask, 255).resize(size, Image.Resampling.NEAREST))
    said = run()
    assert "3 pictures marked at another size, scaled" in said
    check(product, least=0.95)


def test_masks_of_other_proportions_are_left_out(unmasked, run):
    save_each(unmasked, lambda mask: levels(mask, 255))
    levels(DISC, 255).resize((100, 100)).save(unmasked / "masks/1.png")
    said = run(code=3)
    assert "bad/1.jpg: marked at 100 x 100 pixels, and the picture has 240 x 180: other proportions" in said


def test_blank_masks_make_a_doubt_but_not_in_a_folder_of_normal_ones(unmasked, run, product):
    save_each(unmasked, lambda mask: levels(mask, 255))
    save_mask(unmasked / "masks/good/n1.png", np.zeros_like(DISC))
    assert "Doubts" not in run("--dry-run")
    save_mask(unmasked / "masks/1.png", np.zeros_like(DISC))
    assert "1 picture whose masks mark nothing, taken as normal ones: 1.jpg" in run(code=3)


def test_numbers_of_single_anomalies_are_one_type(unmasked, run, product):
    for i in range(3):
        held = np.zeros(SIZE[::-1], np.uint8)
        for k in range(40):
            held[4 * k : 4 * k + 3, 10:40] = k + 1
        Image.fromarray(held).save(unmasked / f"masks/{i}.png")
    said = run(code=3)
    assert "40 numbers, taken as numbers of single anomalies" in said
    run("--yes")
    assert product.names("test") == ["anomaly"]


def test_a_few_grey_levels_are_doubted(unmasked, run):
    for i in range(3):
        held = (DISC * 100 + (OTHER & ~DISC) * 200).astype(np.uint8)
        Image.fromarray(held).save(unmasked / f"masks/{i}.png")
    assert "levels 100, 200: taken as one type each" in run(code=3)
