"""Files in and out: NIfTI, pictures, meshes, the case folder, atomic writes."""
