"""How well anomaly maps find the anomalies: per pixel and per image, with the paper's protocol (tab. 2, 3).

Maps are (n, H, W) float, finite, higher = more anomalous; masks (n, H, W) bool, true = anomaly, all false in a normal
image. Scores lie in [0, 1], 1 is best. The paper averages the scores of products, each computed over all its test images.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from sklearn.metrics import precision_recall_curve, roc_auc_score

from seas_runtime.errors import DataError

Maps = npt.NDArray[np.floating]
Masks = npt.NDArray[np.bool_]
PRO_LIMIT = 0.3
"""False positive rate up to which PRO is integrated (Bergmann et al. 2021)."""
_EIGHT = np.ones((3, 3), dtype=np.int8)  # pixels that touch at a corner are one component, as in MVTec's evaluation


@dataclass(frozen=True)
class PixelScores:
    """Scores of all pixels of all images together, except for `iou` and `pro`.

    Attributes:
        auroc: Area under the ROC curve.
        ap: Average precision.
        f1_max: F1 at the best threshold, the same for all images.
        threshold: That threshold; a pixel with this value or more is anomalous.
        iou: As the authors' evaluation has it: of each anomalous image the IoU at the best threshold for this
            image, averaged over these images. It knows every image's mask, so it is no score of a usable detector.
        iou_pooled: IoU at `threshold`, all pixels together: f1_max / (2 - f1_max), the largest of any one threshold.
        iou_half: IoU at one half, all pixels together: of a segmenter's probabilities as they come.
        pro: Per-region overlap: the share of a component found, averaged over components, integrated up to a
            false positive rate of 0.3 and divided by 0.3.
    """

    auroc: float
    ap: float
    f1_max: float
    threshold: float
    iou: float
    iou_pooled: float
    iou_half: float
    pro: float


@dataclass(frozen=True)
class ImageScores:
    """Scores of images, anomalous or not, by the maximum of their map."""

    auroc: float
    ap: float
    f1_max: float


@dataclass(frozen=True)
class Scores:
    """Both levels."""

    pixel: PixelScores
    image: ImageScores

    def row(self) -> dict[str, float]:
        """Every score by name, such as pixel_auroc."""
        levels = {"pixel": asdict(self.pixel), "image": asdict(self.image)}
        return {f"{level}_{name}": value for level, found in levels.items() for name, value in found.items()}


def score(maps: Maps, masks: Masks) -> Scores:
    """Score maps (n, H, W) per pixel and per image, by masks (n, H, W).

    Raises:
        DataError: As `score_pixels` and `score_images`.
    """
    return Scores(score_pixels(maps, masks), score_images(maps, masks))


def score_pixels(maps: Maps, masks: Masks) -> PixelScores:
    """Score maps (n, H, W) per pixel, by masks (n, H, W); needs no normal image.

    Raises:
        DataError: Maps and masks do not fit, a value is not finite, or all pixels are of one class.
    """
    _check(maps, masks)
    if masks.all() or not masks.any():
        raise _one_class("pixel", "anomalous" if masks.all() else "normal", masks.size)
    labels, values = masks.ravel(), maps.ravel()
    ap, f1_max, threshold = _precision_recall(labels, values)
    each = [_iou(_precision_recall(mask.ravel(), map_.ravel())[1]) for map_, mask in zip(maps, masks, strict=True) if mask.any()]
    return PixelScores(
        auroc=float(roc_auc_score(labels, values)),
        ap=ap,
        f1_max=f1_max,
        threshold=threshold,
        iou=float(np.mean(each)),
        iou_pooled=_iou(f1_max),
        iou_half=float(overlaps(maps.reshape(1, 1, -1) >= 0.5, masks.reshape(1, 1, -1))[0]),
        pro=pro(maps, masks),
    )


def overlaps(first: Masks, second: Masks, both_empty: float = 1.0) -> npt.NDArray[np.float64]:
    """IoU (n,) of each two masks (n, H, W), `both_empty` where neither marks anything."""
    both, either = (np.count_nonzero(found, axis=(1, 2)) for found in (first & second, first | second))
    return np.where(either == 0, both_empty, both / np.maximum(either, 1))


def score_images(maps: Maps, masks: Masks) -> ImageScores:
    """Score images by the maximum of their map (H, W), of masks (n, H, W).

    Raises:
        DataError: Maps and masks do not fit, a value is not finite, or all images are of one class.
    """
    _check(maps, masks)
    labels, values = np.asarray(masks.any(axis=(1, 2))), maps.max(axis=(1, 2))
    if labels.all() or not labels.any():
        raise _one_class("image", "anomalous" if labels.all() else "normal", len(labels))
    ap, f1_max, _ = _precision_recall(labels, values)
    return ImageScores(auroc=float(roc_auc_score(labels, values)), ap=ap, f1_max=f1_max)


def pro(maps: Maps, masks: Masks, limit: float = PRO_LIMIT) -> float:
    """Area under the per-region overlap against the false positive rate, up to `limit` and divided by it.

    Each component of the masks (8-connected) counts the same, however large; every distinct value of the maps is a
    threshold. The false positive rate is that of all normal pixels of all images. Maps and masks are (n, H, W).

    Raises:
        DataError: Maps and masks do not fit, a value is not finite, or all pixels are of one class.
    """
    _check(maps, masks)
    if masks.all() or not masks.any():
        raise _one_class("pixel", "anomalous" if masks.all() else "normal", masks.size)
    order = np.argsort(maps, axis=None, kind="stable")[::-1]
    ordered = maps.ravel()[order]
    ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))  # the last pixel of each threshold
    overlap = np.cumsum(_overlap_shares(masks).ravel()[order])[ends]
    false = np.cumsum(~masks.ravel()[order])[ends] / np.count_nonzero(~masks)
    false, overlap = np.insert(false, 0, 0.0), np.insert(overlap, 0, 0.0)
    inside = false <= limit  # at the limit itself several overlaps may follow one another: a step upwards has no area
    cut = np.append(false[inside], limit)
    found = np.append(overlap[inside], np.interp(limit, false, overlap))
    return float(np.trapezoid(found, cut) / limit)


def _overlap_shares(masks: Masks) -> npt.NDArray[np.float64]:
    """What finding a pixel of masks (n, H, W) adds to the mean overlap: 1 / (its component's area * the number of components)."""
    shares = np.zeros(masks.shape)
    components = 0
    for share, mask in zip(shares, masks, strict=True):
        labels, count = ndimage.label(mask, structure=_EIGHT)
        components += count
        areas = np.bincount(labels.ravel())
        share[mask] = 1 / areas[labels[mask]]
    return shares / components


def _precision_recall(labels: npt.NDArray[np.bool_], values: Maps) -> tuple[float, float, float]:
    """Average precision, largest F1 and its threshold (the highest where several have it), of labels and values (m,)."""
    precision, recall, thresholds = precision_recall_curve(labels, values)
    ap = float(-np.sum(np.diff(recall) * precision[:-1]))  # as scikit-learn's average_precision_score
    precision, recall = precision[:-1], recall[:-1]  # the last point has no threshold
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float64).tiny)
    best = len(f1) - 1 - int(np.argmax(f1[::-1]))
    return ap, float(f1[best]), float(thresholds[best])


def _iou(f1: float) -> float:
    """TP / (TP + FP + FN) of a prediction with this F1, which is 2 TP / (2 TP + FP + FN)."""
    return f1 / (2 - f1)


def _check(maps: Maps, masks: Masks) -> None:
    if maps.ndim != 3 or maps.shape != masks.shape or not maps.size or masks.dtype != np.bool_:
        raise DataError(
            f"found maps {maps.shape} and masks {masks.shape} {masks.dtype}, expected (n, H, W) of both and bool masks; "
            "predict on the images of the masks"
        )
    if not np.isfinite(maps).all():
        raise DataError("found a map with values that are no numbers, expected finite ones; train the detector again")


def _one_class(what: str, named: str, count: int) -> DataError:
    other = "normal" if named == "anomalous" else "anomalous"
    return DataError(
        f"all {count} test {what}s are {named}, expected {other} ones too: AUROC, AP and F1 are undefined; "
        f"add {other} images to the test set"
    )
