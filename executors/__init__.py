"""Where chunks run: filesets, plans, ledgers, reports."""
