"""Engine sets beside a bundle, written by hand: of the small bundle, for two GPUs and batches of 1 and 4."""

import hashlib
import json

VERSION = "1.7.1.116"
CONTENTS = {"unet": b"u" * 700, "decoder": b"decodes", "mask_branch": b"\0\1\2", "finish": b"both"}
ROWS = {
    "unet": ((1, 2, 2), (3, 8, 8)),
    "decoder": ((1, 1, 1), (2, 4, 4)),
    "mask_branch": ((1, 1, 1), (2, 4, 4)),
    "finish": ((1, 1, 1), (2, 4, 4)),
}


def description(bundle):
    graphs = {
        name: {
            "file": f"{name}.engine",
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "precision": "fp32",
            "profiles": [{"min": low, "opt": opt, "max": high} for low, opt, high in ROWS[name]],
            "settings": {"strongly_typed": True, "refit": False, "tf32": False, "timing_cache": False},
        }
        for name, data in CONTENTS.items()
        if name in bundle.manifest.sampled
    }
    return {
        "format": 1,
        "flavour": "rtx",
        "version": VERSION,
        "gpus": ["sm86", "sm120"],
        "device": None,
        "core": bundle.manifest.digest,
        "batches": [1, 4],
        "graphs": graphs,
    }


def write_set(bundle, facts, name=f"rtx-{VERSION}"):
    folder = bundle.path / "engines" / name
    folder.mkdir(parents=True)
    for graph in bundle.manifest.sampled:
        (folder / f"{graph}.engine").write_bytes(CONTENTS[graph])
    (folder / "engines.json").write_text(json.dumps(facts))
    return folder
