"""One file per method: the network, its settings and its published recipe. Tensors begin here."""
