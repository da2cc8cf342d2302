"""Dask workers as HTCondor jobs: settings of a site, jobs, the pool of a run."""
