#!/bin/sh
# What a plain job runs: flashbrew with the arguments given, one compute thread per core it got.
#
#   FLASHBREW_PYTHON   interpreter; default: python3 of the image or machine
#   FLASHBREW_HOME     clone to run from, where flashbrew is not installed for that interpreter
#   FLASHBREW_RESULTS  directory to make: HTCondor holds a job that lacks what it is to take back
set -eu
if [ -n "${FLASHBREW_HOME:-}" ]; then
  export PYTHONPATH="$FLASHBREW_HOME${PYTHONPATH:+:$PYTHONPATH}"
fi
if [ -n "${FLASHBREW_RESULTS:-}" ]; then
  mkdir -p "$FLASHBREW_RESULTS" || true
fi
# HTCondor sets OMP_NUM_THREADS to the cores of the slot
export FLASHBREW_THREADS="${OMP_NUM_THREADS:-1}"
# a job that was killed and starts again finds its own lock: it waits (a minute at most) to see
# whether anybody is alive behind it
export FLASHBREW_OUTLAST_LOCK=1
export XRD_RUNFORKHANDLER=1 MALLOC_TRIM_THRESHOLD_=0
export NUMBA_CACHE_DIR="${NUMBA_CACHE_DIR:-${_CONDOR_SCRATCH_DIR:-/tmp}/numba}"
export MPLCONFIGDIR="${MPLCONFIGDIR:-${_CONDOR_SCRATCH_DIR:-/tmp}/matplotlib}"
exec "${FLASHBREW_PYTHON:-python3}" -m run_processor "$@"
