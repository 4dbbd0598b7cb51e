"""Annotated photographs in any format -> a product's folder in MVTec AD layout."""
