"""The page in a process of its own: one server for all tests. Its models are tiny and untrained, but for the one that
turns heads: nobody can be recognised in what an untrained one paints, so it would turn nothing."""

import atexit
import functools
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent


@functools.lru_cache(maxsize=1)
def start_server() -> str:
    """Its address. It ends with the test run."""
    from facesym.models import AttributeGenerator, NormalizedFaceGAN, SymmetrizerVAE, SymmFCNet

    folder = tempfile.TemporaryDirectory(prefix="facesym-page-")
    SymmFCNet.preset("tiny").save_pretrained(f"{folder.name}/model")
    SymmetrizerVAE(widths=(8, 8, 16), latent=4, input_size=128).save_pretrained(f"{folder.name}/symmetrizer")
    widths = (8,) * 5
    NormalizedFaceGAN(encoder_widths=widths, hidden=16, latent=8, decoder_widths=widths).save_pretrained(
        f"{folder.name}/normalizer"
    )
    AttributeGenerator(widths=(8, 8, 16, 16, 16), blocks=1, input_size=128).save_pretrained(
        f"{folder.name}/transfer"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = open(f"{folder.name}/log", "w+")  # noqa: SIM115
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "spaces" / "app.py")],
        cwd=folder.name,  # it must not depend on where it is started
        env=os.environ
        | {
            "FACESYM_COMPLETE_MODEL": f"{folder.name}/model",
            "FACESYM_SYMMETRIZE_MODEL": f"{folder.name}/symmetrizer",
            "FACESYM_NORMALIZE_MODEL": f"{folder.name}/normalizer",
            "FACESYM_TRANSFER_MODEL": f"{folder.name}/transfer",
            "FACESYM_FIT_SECONDS": "3",
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_TEMP_DIR": f"{folder.name}/cache",
            "HF_HUB_OFFLINE": "1",
        },
        stdout=log,
        stderr=subprocess.STDOUT,
    )

    def stop():
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
        folder.cleanup()

    atexit.register(stop)
    url = f"http://127.0.0.1:{port}/"
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=5).read()
            return url
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.2)
    log.seek(0)
    raise RuntimeError(f"The page did not start:\n{log.read()}")
