"""Generative adversarial networks: one model a file; point_nets.py and digit_nets.py hold their nets."""

from scratchnet.models.gans.conditional_gan import ConditionalGAN, WithLabel, WithoutLabel, wrong_labels
from scratchnet.models.gans.cyclegan import CycleGAN
from scratchnet.models.gans.gan import GAN
from scratchnet.models.gans.image_to_image import ImageToImage, PatchDiscriminator, UNet

__all__ = ["GAN", "ConditionalGAN", "CycleGAN", "ImageToImage", "PatchDiscriminator", "UNet", "WithLabel",
           "WithoutLabel", "wrong_labels"]
