"""A model in memory as lm-eval asks it. Imported only where lm-eval is there."""

from typing import Any

from lm_eval.models.huggingface import HFLM
from torch import nn

from vxlab.experiments.evaluations.answer_bar import AnswerBar


class HarnessModel(HFLM):  # type: ignore[misc]
    """Answer lm-eval's requests by a model as it stands, adapters and all, and count them on a bar.

    The numbers are those of ``lm-eval run --model hf --model_args pretrained=FOLDER,dtype=float32`` with the same
    ``--batch_size``; below float32 with ``mixed_precision_dtype=bfloat16`` (or float16) behind it.

    Args:
        model: a causal language model with float32 weights, in evaluation mode, on its device.
        tokenizer: its own.
        precision: in which it is computed: ``float32``, or ``bfloat16`` or ``float16`` by autocast.
        batch_size: requests at a time.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, precision: str, batch_size: int) -> None:
        mixed = None if precision == "float32" else precision
        # lm-eval ties weights that are tied since they were loaded, by names that adapters may have moved.
        model.tie_weights = lambda *_, **__: None  # type: ignore[assignment]
        try:
            super().__init__(
                pretrained=model, backend="causal", tokenizer=tokenizer, batch_size=batch_size,
                mixed_precision_dtype=mixed,
            )  # fmt: skip
        finally:
            del model.tie_weights
        self.bar = AnswerBar("", shown=False)
        self.cut = 0
        """prompts that lost their beginning, for they were longer than what the model reads"""

    @property
    def cache_hook(self) -> AnswerBar:
        """What lm-eval tells of every answer."""
        return self.bar

    @cache_hook.setter
    def cache_hook(self, _: Any) -> None:
        """Keep no cache of lm-eval's: the store keeps what comes."""

    def loglikelihood(self, requests: Any, disable_tqdm: bool = True) -> Any:
        """Answer how likely continuations are."""
        self.bar.expect(len(requests))
        return super().loglikelihood(requests, disable_tqdm=True)

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = True) -> Any:
        """Answer how likely whole texts are."""
        self.bar.expect(len(requests))
        return super().loglikelihood_rolling(requests, disable_tqdm=True)

    def generate_until(self, requests: Any, disable_tqdm: bool = True) -> Any:
        """Write on."""
        self.bar.expect(len(requests))
        return super().generate_until(requests, disable_tqdm=True)

    def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = True, **more: Any) -> Any:
        self.cut += sum(len(context) + len(answer) > self.max_length + 1 for _, context, answer in requests)
        return super()._loglikelihood_tokens(requests, disable_tqdm=True, **more)

    def tok_batch_encode(self, strings: Any, *args: Any, left_truncate_len: int | None = None, **more: Any) -> Any:
        """Return prompts as tokens, of which the last may be all that fit."""
        if left_truncate_len:
            self.cut += sum(len(self.tok_encode(text)) > left_truncate_len for text in strings)
        return super().tok_batch_encode(strings, *args, left_truncate_len=left_truncate_len, **more)
