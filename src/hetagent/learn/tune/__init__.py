"""Training a model for one skill; the only part of `learn` that imports PyTorch."""
