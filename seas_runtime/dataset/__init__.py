"""Data sets on disk: imported from annotation tools, written so that a run can be continued, reviewed, exported."""
