"""The output directory: results of chunks, event files, histograms, their merging and copying."""
