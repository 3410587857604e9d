"""Active speaker detection by lip-sync: the network's inputs, its evidence, and the choice of the face."""
