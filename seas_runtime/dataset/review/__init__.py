"""`seas-data review`: look at generated pairs, decide on each, mend masks.

What lies beside the pairs in OUT, and what other commands read with `decisions.read_decisions`:

    OUT/review.jsonl             a line per decision; the last of an index counts
    OUT/review/000012_mask.png   the mended mask of pair 12, 0 or 255; the generated one stays as it is
"""
