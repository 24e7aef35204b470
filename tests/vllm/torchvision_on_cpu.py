"""Makes torchvision importable beside a torch without CUDA, in every process of an environment.

`pipeline.models.declare_vision_operators` does so for one process. vLLM starts others: one that
looks a model up, one that runs the engine. `make .venv-vllm/.ready` puts this file into the
environment, and a ``.pth`` that imports it. It waits until torchvision itself is imported.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

declared: list[Any] = []  # the operators go when the object that declares them goes


class BeforeItsOperators(MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "torchvision._meta_registrations":
            return None
        sys.meta_path.remove(self)
        import torch

        if not torch.cuda.is_available():
            library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
            for operator in ("nms", "qnms"):
                schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                library.define(operator + schema)  # type: ignore[no-untyped-call]
            declared.append(library)
        return PathFinder.find_spec(name, path, target)


sys.meta_path.insert(0, BeforeItsOperators())
