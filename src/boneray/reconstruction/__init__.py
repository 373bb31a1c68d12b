"""From radiographs to labels and meshes with a checkpoint."""
