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

LAYERS: dict[str, tuple[str, ...]] = {
    "trl": (),  # requirements.lock has it
    "llamafactory": (
        "accelerate==1.11.0",
        "antlr4-python3-runtime==4.9.3",
        "av==16.0.0",
        "contourpy==1.3.3",
        "cycler==0.12.1",
        "datasets==4.0.0",
        "dill==0.3.8",
        "einops==0.8.2",
        "fire==0.7.1",
        "fonttools==4.68.0",
        "fsspec==2025.3.0",
        "hf_transfer==0.1.9",
        "httpcore==1.0.9",
        "httpx==0.28.1",
        "huggingface_hub==1.33.0",
        "kiwisolver==1.5.1",
        "llamafactory==0.9.5",
        "matplotlib==3.11.2",
        "modelscope==1.40.2",
        "multiprocess==0.70.16",
        "omegaconf==2.4.0",
        "peft==0.18.1",
        "pyparsing==3.3.3",
        "sentencepiece==0.2.3",
        "shtab==1.13.0",
        "sse-starlette==3.7.0",
        "termcolor==3.3.0",
        "tiktoken==0.14.0",
        "tokenizers==0.22.2",
        "torchdata==0.11.0",
        "transformers==5.6.0",
        "trl==0.24.0",
        "typeguard==4.6.1",
        "tyro==0.8.14",
    ),
    "verl": (
        "antlr4-python3-runtime==4.9.3",
        "attrs==26.1.0",
        "av==18.1.0",
        "cloudpickle==3.1.3",
        "codetiming==1.4.0",
        "httpcore==1.0.9",
        "httpx==0.28.1",
        "huggingface_hub==1.33.0",
        "hydra-core==1.3.8",
        "importlib_metadata==10.2.0",
        "jsonschema==4.26.0",
        "jsonschema-specifications==2025.9.1",
        "msgpack==1.2.4",
        "omegaconf==2.4.0",
        "orjson==3.13.0",
        "pylatexenc==2.11",
        "pyvers==0.2.3",
        "qwen-vl-utils==0.0.14",
        "ray==2.52.0",
        "referencing==0.37.0",
        "rpds-py==2026.9.1",
        "tensordict==0.10.0",
        "tokenizers==0.22.2",
        "torchdata==0.11.0",
        "transformers==5.10.4",
        "verl==0.9.1",
        "zipp==4.1.2",
    ),
    "msswift": (
        "addict==2.4.0",
        "aiohappyeyeballs==2.7.1",
        "aiohttp==3.14.5",
        "aiosignal==1.4.0",
        "attrdict==2.0.1",
        "attrs==26.1.0",
        "av==18.1.0",
        "binpacking==2.0.1",
        "cffi==2.1.1",
        "contourpy==1.3.3",
        "cpm-kernels==1.0.11",
        "cryptography==50.0.2",
        "cycler==0.12.1",
        "dacite==1.9.2",
        "datasets==4.8.4",
        "einops==0.8.2",
        "fonttools==4.68.0",
        "frozenlist==1.8.0",
        "httpcore==1.0.9",
        "httpx==0.28.1",
        "importlib_metadata==10.2.0",
        "json_repair==0.64.6",
        "kiwisolver==1.5.1",
        "matplotlib==3.11.2",
        "modelscope==1.40.2",
        "modelscope-hub==0.5.1",
        "ms_swift==4.6.0",
        "nltk==3.10.4",
        "oss2==2.19.1",
        "peft==0.20.0",
        "pycparser==3.12",
        "pyparsing==3.3.3",
        "qwen-vl-utils==0.0.14",
        "rouge==1.0.1",
        "sentencepiece==0.2.3",
        "simplejson==4.3.0",
        "tiktoken==0.14.0",
        "transformers-stream-generator==0.0.5",
        "trl==0.29.1",
        "zipp==4.1.2",
        "zstandard==0.25.0",
    ),
}
LAYERS["easyr1"] = LAYERS["verl"]  # it needs the same, and is run from a checkout


def interpreter(name: str) -> Path:
    """The interpreter of a framework's environment, which is made unless it is there.

    Raises:
        subprocess.CalledProcessError: if a package cannot be installed.
    """
    layer = LAYERS[name]
    if not layer:
        return Path(sys.executable)
    root = Path(os.environ.get("DRAWLOOP_ENVS") or HERE.parent)
    place = root / f".venv-{'verl' if name == 'easyr1' else name}"
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
