"""Resumable downloads into the user's cache, from several mirrors, with a progress bar and a check of the SHA-256.

pooch checks the hash and moves the file to its place, so a file in the cache is always good. But pooch cannot continue
an interrupted download, so the bytes are fetched here and wait in `<name>.part`. The network libraries are imported
where a file is missing and no sooner: the sample of MNIST, and files in a folder of the user's, do without them.
"""

import os
from functools import partial
from pathlib import Path

from tqdm import tqdm


class DownloadError(OSError):
    """No mirror delivered the file."""


def cache_folder(name):
    """The folder of the data set `name` in the user's cache (Linux: ~/.cache/scratchnet/<name>)."""
    return Path(_libraries()[0].os_cache("scratchnet")) / name


def _libraries():
    """pooch and requests."""
    try:
        import pooch
        import requests
    except ImportError as error:
        raise DownloadError(f"a download, and the cache of earlier ones, need the package {error.name}: pip install "
                            f"{error.name}, or set SCRATCHNET_DATA to a folder that has the files") from error
    return pooch, requests


def download(name, mirrors, sha256, folder):
    """Download `name` into `folder` from the first of the mirrors (base URLs) that has it. Returns its path.

    The next mirror, or the next call, continues an interrupted download. DownloadError says what each mirror answered
    and where to put the file by hand.
    """
    folder, answers, (pooch, _) = Path(folder), [], _libraries()
    for mirror in mirrors:
        try:
            return Path(pooch.retrieve(mirror + name, known_hash=f"sha256:{sha256}", fname=name, path=folder,
                                       downloader=partial(_fetch, part=folder / f"{name}.part")))
        except (OSError, ValueError) as error:  # no connection, a bad status, an early end; a wrong hash
            has_reason = any(part is not None for part in error.args)  # or it would read "None"
            answers.append(f"  {mirror}: {error if has_reason and str(error) else type(error).__name__}")
    raise DownloadError("\n".join([
        f"{name} could not be downloaded.", *answers,
        f"Run this again to continue, or put this file and its companions into the folder {folder} yourself, "
        "or set SCRATCHNET_DATA to a folder that has them."]))


def _fetch(url, output_file, _pooch, part):
    """Fetch the missing bytes of `part` from the URL, then hand the file over to pooch as `output_file`."""
    os.remove(output_file)  # pooch's empty temporary file: it would outlive a kill
    have = part.stat().st_size if part.exists() else 0
    # "identity": a coded body would have other bytes than the file
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    _, requests = _libraries()
    with requests.get(url, headers=headers, stream=True, timeout=30) as response:
        # 416: the file has no bytes after those of .part, which is then whole or wrong: the hash will tell
        if response.status_code != 416:
            response.raise_for_status()
            _append(response, part, have if response.status_code == 206 else 0)
    os.replace(part, output_file)


def _append(response, part, have):
    """Write the body after the first `have` bytes of `part`. Raises ConnectionError if it ends early."""
    total = have + int(response.headers.get("Content-Length", 0))
    with part.open("ab" if have else "wb") as file, tqdm(
            desc=part.stem, initial=have, total=total, unit="B", unit_scale=True) as bar:
        for chunk in response.iter_content(1 << 13):  # a lost connection loses its current chunk
            file.write(chunk)
            bar.update(len(chunk))
    if part.stat().st_size < total:
        raise ConnectionError(f"the connection was lost after {part.stat().st_size} of {total} bytes")
