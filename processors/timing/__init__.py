"""Photon arrival times of the EIC KLM's scintillator bars. Seed: RowanKell/work_eic."""
