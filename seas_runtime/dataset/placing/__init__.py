"""Pairs put back into the whole photographs that their pictures are parts of."""
