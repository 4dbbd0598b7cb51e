"""`seas-train report`: one page, without a network, of how a training went and what came of it."""
