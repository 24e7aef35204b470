"""vLLM's asynchronous engine, started by this process: one request a turn.

Guarantees: a prompt is the ids that `tokens` writes, never text, and vLLM's own account of it is
compared with them; pictures are named by what they show, so that vLLM's caches of prefixes and of
pictures hit from turn to turn and from sample to sample; ids and log-probabilities are those that
were sampled, of the distribution that `local` tells of: without the ids that stand for pictures,
at the temperature, before top-p. A picture is drawn when its turn is due and let go after it. A
turn that nobody waits for any more is taken out of the engine.
Does not: sample the same when other turns are under way: each turn has a seed of its own, and
batches differ in the last bits.
"""

import asyncio
import hashlib
import os
import threading
import weakref
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from pipeline import canvas, models, pixels, tokens
from pipeline.policies import Engine
from pipeline.protocol import FAMILIES, Family
from pipeline.rollout import Limits, check_length, read_turn
from pipeline.teachers import vllm_worker
from pipeline.teachers.local import Sampling
from pipeline.tokens import Vocabulary, Written
from pipeline.types import PolicyError, State, Turn, Usage


class Vllm:
    """A `Policy` over a checkpoint, by path or name.

    The engine runs until `close`, or until the policy is collected. Turns may be asked for from any
    event loop: the engine has its own.

    Raises:
        ImportError: if vLLM is not installed.
        OSError: if there is no whole checkpoint.
        GridMismatch: if the processor's patches are not those of the model's family.
    """

    def __init__(
        self,
        model: str,
        limits: Limits,
        sampling: Sampling,
        *,
        revision: str | None = None,
        dtype: str = "auto",
        engine: Engine,
    ) -> None:
        self.limits = limits
        self.processor = models.load_processor(model, revision)
        self.family: Family = FAMILIES[models.family_name(models.model_type(model, revision))]
        models.check_grid(self.processor, self.family)
        self.words: Vocabulary = tokens.vocabulary(self.processor)
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        thread.start()
        given = _arguments(model, revision, dtype, limits, sampling, engine)
        running: list[Any] = []  # the engine, once it has started
        self.close = weakref.finalize(self, _ended, running, self._loop, thread)
        running.append(self._run(_started(given)))
        (self._engine,) = running
        self.sample_as(sampling)

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def act(self, state: State) -> Turn:
        """The next turn.

        Raises:
            PolicyError: if the prompt alone is longer than the limits' context, or if vLLM could not
                answer this one request.
            EngineDeadError: of vLLM, if its engine has died.
        """
        most = self.limits.turns(state.problem)
        written = tokens.prompt(state, self.words, self.family, most, sampled=True)
        check_length(len(written.ids), self.limits)
        prompt, due = self._prompt(state, written), state.due
        work = _answered(self._engine, prompt, self._parameters(due), due)
        said = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
        return self._turn(state, written, said)

    async def aclose(self) -> None:
        """Ends the engine, from within an event loop, which goes on meanwhile."""
        await asyncio.to_thread(self.close)

    def sample_as(self, sampling: Sampling) -> None:
        """Samples so from now on. Not to be called while turns are due."""
        shape = (list(self.words.vision), sampling.temperature)
        self._run(self._engine.collective_rpc("shape_logits", args=shape))
        self.sampling = sampling

    def load(self, folder: Path) -> None:
        """Takes other weights of the same model, and forgets what it computed with the old ones.

        Not to be called while turns are due.
        """
        self._run(_loaded(self._engine, folder))

    def _prompt(self, state: State, written: Written) -> dict[str, Any]:
        """As vLLM wants it: one id where a picture stands, which it makes as many as it has patches."""
        drawn = pixels.drawn(state, written.pictures)
        names = [canvas.identity(state.problem, state.views[k - 1]) for k in written.pictures]
        return {
            "prompt_token_ids": collapsed(written.ids, self.words.picture),
            "multi_modal_data": {"image": [Pillow.fromarray(picture) for picture in drawn]},
            "multi_modal_uuids": {"image": names},
        }

    def _parameters(self, due: str) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        asked = self.sampling
        return SamplingParams(
            temperature=1.0 if asked.temperature else 0.0,  # the logits have it already
            top_p=asked.top_p,
            max_tokens=asked.max_tokens,
            seed=seed_of(f"{asked.seed}/vllm/{due}"),
            stop_token_ids=[self.words.end],
            ignore_eos=True,  # nothing else ends a turn
            logprobs=0,  # of the id that was sampled
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _turn(self, state: State, written: Written, said: Any) -> Turn:
        if tuple(said.prompt_token_ids) != written.ids:
            raise PromptMismatch(
                f"vLLM read {len(said.prompt_token_ids)} tokens of a prompt of {len(written.ids)}: its "
                f"processor takes the pictures of {state.problem.id} for others than they are; "
                f"compare min_pixels and max_pixels of the checkpoint's preprocessor_config.json"
            )
        (made,) = said.outputs
        ids = tuple(made.token_ids)
        usage = Usage(
            prompt_tokens=len(written.ids),
            completion_tokens=len(ids),
            cached_tokens=said.num_cached_tokens or 0,
            pictures=len(written.pictures),
            requests=1,
        )
        if made.finish_reason not in ("stop", "length") or not ids:
            raise PolicyError(f"vLLM ended a turn with {made.finish_reason!r}", usage)
        truncated = ids[-1] != self.words.end
        return read_turn(
            state,
            self.processor.tokenizer.decode(ids if truncated else ids[:-1]),
            self.family,
            truncated=truncated,
            ids=ids,
            logprobs=tuple(step[n].logprob for step, n in zip(made.logprobs, ids, strict=True)),
            usage=usage,
        )


class PromptMismatch(RuntimeError):
    """vLLM and `tokens` disagree on what a prompt is: nothing that is sampled from it can be kept."""


def collapsed(ids: tuple[int, ...], picture: int) -> list[int]:
    """The ids with each run of ``picture`` as one."""
    before = (None, *ids)
    return [n for n, last in zip(ids, before, strict=False) if n != picture or last != picture]


def seed_of(stream: str) -> int:
    """A seed of 63 bits for a stream's name."""
    return int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8]) >> 1


# The engine --------------------------------------------------------------------------------------


def _arguments(
    model: str,
    revision: str | None,
    dtype: str,
    limits: Limits,
    sampling: Sampling,
    engine: Engine,
) -> dict[str, Any]:
    return {
        "model": model,
        "revision": revision,
        "tokenizer_revision": revision,
        "dtype": dtype,
        "max_model_len": limits.max_context + sampling.max_tokens,
        "limit_mm_per_prompt": {"image": limits.max_images, "video": 0},
        "enable_prefix_caching": True,
        "mm_processor_cache_gb": engine.picture_cache,
        "tensor_parallel_size": engine.tensor_parallel,
        "gpu_memory_utilization": engine.memory_share,
        "max_num_seqs": engine.at_once,
        "enforce_eager": engine.eager,
        "generation_config": "vllm",  # no sampling parameters from the checkpoint
        "logprobs_mode": "raw_logprobs",
        "worker_extension_cls": vllm_worker.NAME,
    }


async def _started(given: dict[str, Any]) -> Any:
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # it would report to its authors
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform
    from vllm.v1.engine.async_llm import AsyncLLM

    if current_platform.is_cpu():
        # After a part of a prompt vLLM winds the turn's random stream back: torch's cannot be on a CPU.
        given = {**given, "enable_chunked_prefill": False}
    return AsyncLLM.from_engine_args(AsyncEngineArgs(**given))


async def _answered(engine: Any, prompt: dict[str, Any], parameters: Any, name: str) -> Any:
    """The finished request; its being cancelled aborts it."""
    from vllm.exceptions import VLLMClientError
    from vllm.v1.engine.exceptions import EngineGenerateError

    said = None
    try:
        async for part in engine.generate(prompt, parameters, name):
            said = part
    except (VLLMClientError, EngineGenerateError) as error:
        raise PolicyError(f"vLLM did not answer: {error.__cause__ or error}") from error
    return said


async def _loaded(engine: Any, folder: Path) -> None:
    await engine.collective_rpc("load_folder", args=(str(folder),))
    await engine.reset_prefix_cache()
    await engine.reset_encoder_cache()


def _ended(running: list[Any], loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    async def end() -> None:
        for engine in running:
            engine.shutdown()

    asyncio.run_coroutine_threadsafe(end(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
