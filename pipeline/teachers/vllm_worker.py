"""What happens inside vLLM's workers: loaded there, by name, beside the model.

Imports nothing: a worker has torch and vLLM at hand, whoever else reads the method need not.
"""

from typing import Any

NAME = "pipeline.teachers.vllm_worker.Shaping"


class Shaping:
    """Mixed into vLLM's worker. Called there through ``collective_rpc``."""

    model_runner: Any
    reload_weights: Any

    def shape_logits(self, forbidden: list[int], temperature: float) -> None:
        """From now on the model's logits are those that turns are sampled from, short of top-p.

        vLLM's raw log-probabilities are those of the model's own logits: of a distribution that has
        ids which are never sampled, and no temperature. Shaped at their source they are right,
        whichever of its samplers vLLM takes. A temperature of 0 leaves them as they are.
        """
        model = self.model_runner.get_model()
        plain = type(model).compute_logits

        def compute_logits(*arguments: Any, **named: Any) -> Any:
            """(M, H) features → (M, V) logits in float32; None on a worker that has none of them."""
            logits = plain(model, *arguments, **named)
            if logits is None:
                return None
            logits = logits.float()
            logits[:, forbidden] = float("-inf")
            return logits / temperature if temperature else logits

        model.compute_logits = compute_logits

    def load_folder(self, folder: str) -> None:
        """Takes the weights of a checkpoint of the same model.

        A head that is tied to the embeddings has no weights in a checkpoint, so vLLM leaves it alone
        when it reloads: but on a CPU what it computes with is a packed copy of the old ones.
        """
        self.reload_weights(weights_path=folder)
        for name, module in self.model_runner.get_model().named_modules():
            if name.endswith("lm_head") and hasattr(module, "quant_method"):
                module.quant_method.process_weights_after_loading(module)
