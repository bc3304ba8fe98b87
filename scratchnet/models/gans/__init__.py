"""Generative adversarial networks: one model a file; their nets for points and for digits in files of their own."""

from scratchnet.models.gans.conditional_gan import ConditionalGAN, WithLabel, WithoutLabel, wrong_labels
from scratchnet.models.gans.cyclegan import CycleGAN
from scratchnet.models.gans.gan import GAN
from scratchnet.models.gans.image_to_image import ImageToImage, PatchDiscriminator, UNet

__all__ = ["GAN", "ConditionalGAN", "CycleGAN", "ImageToImage", "PatchDiscriminator", "UNet", "WithLabel",
           "WithoutLabel", "wrong_labels"]
