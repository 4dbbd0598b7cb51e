"""A module for each format of annotations; all give the records of `importers.records`."""
