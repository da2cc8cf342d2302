#!/bin/sh
# Installs flashbrew with XRootD and everything that constraints.txt pins; both container recipes
# run it, so that image and image cannot differ. The clone lies in the directory given. torch comes
# by pip, as in the Makefile. Kernels are not compiled here: numba uses none of a folder that it may
# not write, each user's first run compiles them.
set -eu
cd "$1"
python3 -m pip install --no-cache-dir --quiet uv==0.13.9
python3 -m pip install --no-cache-dir --quiet "$(grep '^torch==' constraints.txt)"
uv pip install --system --no-cache -c constraints.txt '.[xrootd]'
cd /
python3 -c 'import coffea, dask_jobqueue, fsspec_xrootd, torch, run_processor, XRootD.client'
