"""Self-supervised pretraining of the shared latent space (MISLS)."""
