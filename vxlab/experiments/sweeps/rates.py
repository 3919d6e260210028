"""The learning rates that are tried: around which middle each method is tuned, unless a candidate names its own."""

CENTRES: dict[str, float] = {
    "lora": 2e-3, "vera": 2e-2, "lora_xs": 4e-3, "lidb": 6e-3, "full": 1e-4, "bitfit": 2e-3, "head": 6e-2,
    "peft:lora": 2e-3, "peft:dora": 2e-3, "peft:adalora": 2e-3, "peft:vera": 2e-2,
}  # fmt: skip
"""Middle of the learning rates tried, by method, where a candidate names none: what works for MiniLM on short texts
(benchmarks/scores.py); BitFit, DoRA and AdaLoRA start from LoRA's, and LiDB from a third of what was best of 2e-3 to
6e-2 in 100 steps, as LoRA does. Of PEFT's other methods no rate is known here."""
