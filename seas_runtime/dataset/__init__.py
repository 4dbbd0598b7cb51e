"""The data set on disk: writing it so that a run can be continued, its records, its contact sheet."""
