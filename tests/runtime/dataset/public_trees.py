"""The trees of public data sets, as they are distributed, with one marked spot in each mask.

`TREES`: what writes one -> its title, its types with their numbers, its normal images, and whether some are held out for the test.
"""

import numpy as np
from PIL import Image

from tests.runtime.dataset.truth import photograph

SIZE = (96, 64)
SPOT = np.zeros(SIZE[::-1], bool)
SPOT[10:30, 20:50] = True


def write(root, photographs=(), masks=(), blank=(), value=255):
    for i, name in enumerate(photographs):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        photograph(i, *SIZE).save(root / name)
    for names, marked in ((masks, SPOT), (blank, np.zeros_like(SPOT))):
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(marked.astype(np.uint8) * value).save(root / name)


def mvtec(root):
    write(
        root,
        ["train/good/000.png", "test/good/000.png", "test/broken large/000.png", "test/cut/000.png"],
        ["ground_truth/broken large/000_mask.png", "ground_truth/cut/000_mask.png"],
    )


def mvtec_ad2(root):
    write(
        root,
        [
            *(
                "train/good/000_regular.png",
                "validation/good/000_regular.png",
                "test_public/good/000_regular.png",
            ),
            *(
                "test_public/bad/000_overexposed.png",
                "test_private/000_regular.png",
                "test_private_mixed/000_mixed.png",
            ),
        ],
        ["test_public/ground_truth/bad/000_overexposed_mask.png"],
    )


def loco(root):
    write(
        root,
        [
            *("train/good/000.png", "validation/good/000.png", "test/good/000.png"),
            *("test/logical_anomalies/000.png", "test/structural_anomalies/000.png"),
        ],
        ["ground_truth/logical_anomalies/000/000.png", "ground_truth/structural_anomalies/000/000.png"],
        value=254,
    )
    second = np.zeros_like(SPOT)
    second[40:50, 60:70] = True
    Image.fromarray(second.astype(np.uint8) * 253).save(root / "ground_truth/logical_anomalies/000/001.png")


def mvtec3d(root):
    write(
        root,
        [
            *("train/good/rgb/000.png", "validation/good/rgb/000.png", "test/good/rgb/000.png"),
            *("test/hole/rgb/000.png", "train/good/xyz/000.tiff", "test/hole/xyz/000.tiff"),
        ],
        ["test/hole/gt/000.png"],
        ["test/good/gt/000.png"],
        value=254,
    )


def visa(root):
    write(
        root,
        [
            "Data/Images/Normal/0000.JPG",
            "Data/Images/Normal/0001.JPG",
            "Data/Images/Anomaly/000.JPG",
            "Data/Images/Anomaly/001.JPG",
        ],
        ["Data/Masks/Anomaly/000.png", "Data/Masks/Anomaly/001.png"],
        value=3,
    )
    name = root.name
    (root / "image_anno.csv").write_text(
        f"image,label,mask\n{name}/Data/Images/Normal/0000.JPG,normal,\n"
        f"{name}/Data/Images/Anomaly/000.JPG,chunk of wax missing,{name}/Data/Masks/Anomaly/000.png\n"
        f'{name}/Data/Images/Anomaly/001.JPG,"dirt,scratch",{name}/Data/Masks/Anomaly/001.png\n'
    )
    (root.parent / "split_csv").mkdir()
    (root.parent / "split_csv/1cls.csv").write_text(
        f"object,split,label,image,mask\n{name},train,normal,{name}/Data/Images/Normal/0000.JPG,\n"
        f"{name},test,normal,{name}/Data/Images/Normal/0001.JPG,\nother,test,normal,other/Data/Images/Normal/0000.JPG,\n"
    )


def btad(root):
    write(root, ["train/ok/0000.bmp", "test/ok/0003.bmp", "test/ko/0001.bmp"], ["ground_truth/ko/0001.png"])


def mpdd(root):
    write(
        root,
        ["train/good/000.png", "test/good/000.png", "test/scratches/000.png"],
        ["ground_truth/scratches/000_mask.png"],
    )


def real_iad(root):
    write(
        root,
        [
            *("OK/S0001/mint_0001_OK_C1_1.jpg", "NG/HS/S0007/mint_0007_NG_HS_C1_1.jpg"),
            "NG/HS/S0007/mint_0007_NG_HS_C2_1.jpg",
        ],
        ["NG/HS/S0007/mint_0007_NG_HS_C1_1.png"],
    )


def kolektor(root):
    write(
        root,
        ["kos01/Part0.jpg", "kos01/Part1.jpg", "kos02/Part0.jpg"],
        ["kos01/Part1_label.bmp"],
        ["kos01/Part0_label.bmp", "kos02/Part0_label.bmp"],
    )


def kolektor2(root):
    write(
        root,
        ["train/10000.png", "train/10001.png", "test/20000.png"],
        ["train/10001_GT.png"],
        ["train/10000_GT.png", "test/20000_GT.png"],
    )


TREES = {
    mvtec: ("MVTec AD", {"broken large": 1, "cut": 1}, 1, 1),
    mvtec_ad2: ("MVTec AD 2", {"bad": 1}, 2, 1),
    loco: ("MVTec AD", {"logical_anomalies": 1, "structural_anomalies": 1}, 2, 1),
    mvtec3d: ("MVTec 3D AD", {"hole": 1}, 2, 1),
    visa: ("VisA", {"chunk of wax missing": 1, "combined": 1}, 1, 1),
    btad: ("BTAD", {"ko": 1}, 1, 1),
    mpdd: ("MVTec AD", {"scratches": 1}, 1, 1),
    real_iad: ("Real-IAD", {"scratch": 1}, 1, 0),
    kolektor: ("KolektorSDD", {"defect": 1}, 2, 0),
    kolektor2: ("KolektorSDD2", {"defect": 1}, 1, 1),
}
