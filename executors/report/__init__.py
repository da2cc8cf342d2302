"""The account of a run: its report, its journal, its tables for a terminal."""
