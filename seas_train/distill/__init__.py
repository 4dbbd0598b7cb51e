"""A student of few steps: `seas-train distill`."""
