"""Datasets, masks and simulation for training and tests; nothing here is needed to run a model."""
