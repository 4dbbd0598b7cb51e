"""The demo product's judge, figures and report."""
