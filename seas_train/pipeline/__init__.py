"""`seas-train all`: the whole road from a data set to a bundle, each stage a command of this project."""
