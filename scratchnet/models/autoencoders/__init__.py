"""Autoencoders, and the linear codes they are compared with: one model a file."""

from scratchnet.models.autoencoders.autoencoder import Autoencoder, reconstruction_loss, squared_error
from scratchnet.models.autoencoders.conv_autoencoder import ConvAutoencoder
from scratchnet.models.autoencoders.pca import LSA, PCA, LogisticPCA
from scratchnet.models.autoencoders.stacked_classifier import StackedClassifier

__all__ = ["LSA", "PCA", "Autoencoder", "ConvAutoencoder", "LogisticPCA", "StackedClassifier", "reconstruction_loss",
           "squared_error"]
