"""One environment a framework: a layer of pinned packages over the project's own.

A layer is a virtual environment whose packages come before those of `.venv`: what a framework pins
is in the layer, and everything else, torch among it, is what requirements.lock says. All are
installed without dependencies: the full sets (servers, engines, dashboards) are not needed to load.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).parent
WEB = ("httpx==0.28.1", "httpcore==1.0.9", "h11==0.16.0", "anyio==4.12.0", "sniffio==1.3.1")

LAYERS: dict[str, tuple[str, ...]] = {}


def interpreter(name: str) -> Path:
    """The interpreter of a framework's environment, which is made unless it is there.

    Raises:
        subprocess.CalledProcessError: if a package cannot be installed.
    """
    layer = LAYERS[name]
    if not layer:
        return Path(sys.executable)
    root = Path(os.environ.get("DRAWLOOP_ENVS") or HERE.parent)
    place = root / f".venv-{name}"
    ready, wanted = place / "layer.txt", "\n".join(layer)
    if not ready.exists() or ready.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        python = place / "bin" / "python"
        script = "import sysconfig; print(sysconfig.get_path('purelib'))"
        told = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
        below = Path(told.stdout.strip()) / "zz_below.pth"  # the last on the path
        below.write_text(sysconfig.get_path("purelib") + "\n")
        install = [python, "-m", "pip", "install", "--quiet", "--no-deps", *layer]
        subprocess.run(install, check=True)
        ready.write_text(wanted)
    return place / "bin" / "python"
