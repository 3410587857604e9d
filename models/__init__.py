"""The network's architecture: stems, latent space, fusions, contexts, heads. Weights are pipeline outputs."""
