"""Scores of separated files: BSS Eval and tables that resume after a kill."""
