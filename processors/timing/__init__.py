"""Photon arrival times of the EIC KLM's scintillator bars. After RowanKell/work_eic."""
