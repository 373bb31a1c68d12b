"""Studies: grids of runs and perturbations over sets of cases."""
