"""A vLLM server of a checkpoint on loopback, and what vLLM wants of a machine without a GPU.

python -m tests.served weights/tiny-qwen2.5-vl     # prints its address; ends with Ctrl-C
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CPU = {
    "OMP_NUM_THREADS": "1",  # the tiny base gains nothing from more, and threads wait by spinning
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # five times as fast as with threads bound to cores
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GB
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process for the engine and its worker
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "TORCH_COMPILE_DISABLE": "1",  # vLLM compiles a counting of ranks, and waits for it
    "HF_HUB_OFFLINE": "1",
}
NAME = "tiny"  # of the model, to its clients
UP_S = 240.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def served(model: Path, log: Path, pictures: int = 8, context: int = 4096) -> Iterator[str]:
    """The address of a server that is up, ``http://127.0.0.1:PORT/v1``.

    Raises:
        RuntimeError: with the end of what it logged, if it does not come up.
    """
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(model), "--served-model-name", NAME]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "float32", "--enforce-eager", "--max-model-len", str(context)]
    command += ["--limit-mm-per-prompt", json.dumps({"image": pictures, "video": 0})]
    command += ["--generation-config", "vllm", "--logprobs-mode", "processed_logprobs"]
    with log.open("w") as said:
        server = subprocess.Popen(command, stdout=said, stderr=said, env={**os.environ, **CPU})
        try:
            _wait(server, f"http://127.0.0.1:{port}/health", log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait()


def _wait(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end = time.monotonic() + UP_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(1)
    raise RuntimeError(f"the server did not come up; its log ends:\n{log.read_text()[-4000:]}")


if __name__ == "__main__":
    with served(Path(sys.argv[1]), Path("server.log")) as address:
        print(address, flush=True)
        try:
            time.sleep(1e6)
        except KeyboardInterrupt:
            print("ended")
