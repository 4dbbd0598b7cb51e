"""Kinds of files in a data set, for who names them without opening one: no numpy, no Pillow."""

from typing import Literal

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
MaskKind = Literal["binary", "classes"]
"""What a mask's values mean: two levels, or 0 and the numbers of defect classes (VisA, MVTec 3D AD)."""
