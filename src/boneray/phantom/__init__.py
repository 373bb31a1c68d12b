"""Parametric patients: label map, HU volume, and the measurements that are true by construction."""
