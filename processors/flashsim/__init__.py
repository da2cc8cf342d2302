"""Flash simulation of NanoAOD: muons and jets from generator particles."""
