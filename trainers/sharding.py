"""A model that is spread over processes: each holds a share of every weight, gradient and moment.

A block's weights are gathered while it computes, and let go after it (torch's `fully_shard`). They
are gathered as they are kept, in float32: an update is the one that a single process would make.
What is written is whole, and does not tell how many processes there were. Every function here is
called by all of them.
"""

from typing import Any

import torch
from torch.distributed.checkpoint import state_dict
from torch.distributed.checkpoint.state_dict import StateDictOptions
from torch.distributed.fsdp import fully_shard

from trainers.model import Scorer

PREFIX = "model."  # of the model's own names in its scorer


def shard(scorer: Scorer) -> None:
    """Spreads the weights of each block, and of what is in none, over all processes."""
    blocks = set(scorer.model._no_split_modules)
    found = [module for module in scorer.modules() if type(module).__name__ in blocks]
    for module in (*found, scorer):  # gradients are added up and divided: not all backends average
        fully_shard(module).set_force_sum_reduction_for_comms(True)


def gathered(scorer: Scorer, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What a checkpoint keeps: in the main process; others have nothing of it."""
    whole = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    return {
        "trained": state_dict.get_model_state_dict(scorer, options=whole),
        "optimizer": state_dict.get_optimizer_state_dict(scorer, optimizer, options=whole),
    }


def spread(scorer: Scorer, optimizer: torch.optim.Optimizer, kept: dict[str, Any]) -> None:
    """Takes up what `gathered` gave to the main process; what others give is not looked at."""
    told = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=False)
    state_dict.set_model_state_dict(scorer, kept.get("trained", {}), options=told)
    state_dict.set_optimizer_state_dict(scorer, optimizer, kept.get("optimizer", {}), options=told)


def weights(scorer: Scorer) -> dict[str, Any]:
    """All weights by the model's own names: in the main process; others have none."""
    whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
    held = state_dict.get_model_state_dict(scorer, options=whole)
    every = {name for name, _ in scorer.named_parameters(remove_duplicate=False)}
    again = every - {
        name for name, _ in scorer.named_parameters()
    }  # tied: gathered twice, kept once
    return {n.removeprefix(PREFIX): weight for n, weight in held.items() if n not in again}
