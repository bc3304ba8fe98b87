"""Make the thumbnails of demos/README.md from the pictures that the demos write.

    for demo in demos/*.py; do python $demo; done      # an hour; each writes to runs/NAME
    python scripts/make_thumbnails.py [RUNS] [OUTPUT]

RUNS holds one folder for each demo, named after it. Where a picture is missing, the old thumbnail stays.
"""

import argparse
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops

SIZE = (320, 214)   # pixels; demos/README.md shows them at 240
BYTES = 25_000      # at most, for each file
WHOLE = (0, 0, 1, 1)
PICTURES = {  # demo → its picture, and the part of it that is shown: left, top, right, bottom as shares of the sides
    "conv_vae": ("samples.png", WHOLE), "dense_vae": ("map.png", WHOLE),
    "deep_autoencoder": ("planes.png", (0.33, 0, 1, 1)), "code_plane": ("holes.png", WHOLE),
    "denoising": ("repaired.png", WHOLE), "sparse_autoencoder": ("filters-kl-to-the-target.png", WHOLE),
    "contractive_autoencoder": ("singular-values.png", WHOLE), "conv_autoencoder": ("deconvolution.png", WHOLE),
    "pretraining": ("errors.png", WHOLE), "image_retrieval": ("neighbours.png", (0, 0, 1, 0.55)),
    "document_retrieval": ("map.png", (0.5, 0, 1, 1)), "gan_theory": ("game.png", WHOLE),
    "gan_losses": ("starving.png", WHOLE), "gan_points": ("points.png", WHOLE),
    "mode_collapse": ("ring-of-8.png", WHOLE),
    "gan_digits": ("samples-dcgan.png", (0, 0, 0.6, 0.7)), "gan_evaluation": ("sets.png", WHOLE),
    "conditional_gan": ("digits.png", WHOLE), "image_to_image": ("answers.png", WHOLE),
    "cyclegan": ("images.png", WHOLE)}


def thumbnail(path, part):
    """The part of the picture without its white margin, scaled to fit the middle of a white image of SIZE."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    image = image.crop([round(share * n) for share, n in zip(part, image.size * 2, strict=True)])
    image = image.crop(ImageChops.difference(image, Image.new("RGB", image.size, "white")).getbbox())
    scale = min(n / m for n, m in zip(SIZE, image.size, strict=True))
    image = image.resize([max(1, round(scale * m)) for m in image.size], Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", SIZE, "white")
    canvas.paste(image, [(n - m) // 2 for n, m in zip(SIZE, image.size, strict=True)])
    return canvas


def as_png(image):
    """The bytes of a PNG file, in as many colours as BYTES allow."""
    for colours in (256, 128, 64, 32, 16, 8):
        file = BytesIO()
        image.quantize(colours).save(file, "png", optimize=True)
        if file.tell() <= BYTES:
            break
    return file.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="?", default=Path("runs"), help="one folder for each demo (runs)")
    parser.add_argument("output", type=Path, nargs="?", default=Path(__file__).parents[1] / "docs/thumbnails")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for demo, (name, part) in PICTURES.items():
        picture = arguments.runs / demo / name
        if picture.exists():
            png = as_png(thumbnail(picture, part))
            (arguments.output / f"{demo}.png").write_bytes(png)
            print(f"{demo}.png: {len(png)} bytes")
        else:
            print(f"{demo}.png: left as it is, for there is no {picture}")
