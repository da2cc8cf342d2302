"""Input files: named, listed, looked into, remembered, kept open."""
