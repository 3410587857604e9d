"""Pretrained weights by name: listed, fetched from the hub or from packages, converted, verified."""
