"""Variational autoencoders: one model a file."""

from scratchnet.models.vaes.conv_vae import ConvVAE
from scratchnet.models.vaes.dense_vae import DenseVAE
from scratchnet.models.vaes.switches import SwitchHead, corner_switches
from scratchnet.models.vaes.vae import VAE, evaluate, gaussian_of_codes

__all__ = ["VAE", "ConvVAE", "DenseVAE", "SwitchHead", "corner_switches", "evaluate", "gaussian_of_codes"]
