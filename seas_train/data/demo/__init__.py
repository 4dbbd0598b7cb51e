"""Procedural product lines: bottles, tiles and nuts with defects and exact masks, drawn with numpy alone."""

from seas_train.data.demo.drawing import PRODUCTS, draw, vary, write
from seas_train.data.demo.product import Palette

__all__ = ["PRODUCTS", "Palette", "draw", "vary", "write"]
