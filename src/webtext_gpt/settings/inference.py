"""Settings that the commands which use a trained model share: device, number format, weights."""

from webtext_gpt.settings.kinds import OneOf, Text

DEVICE = Text("auto, cpu, cuda, cuda:1, ... or mps", pattern=r"auto|cpu|mps|(cuda|xpu)(:\d+)?")
NO_FP16 = "fp16 is not offered, because it overflows where bf16 does not"
INFERENCE_PRECISION = OneOf(
    ("auto", "fp32", "bf16"),
    instead={
        **dict.fromkeys(("fp16", "16", "16-mixed", "16-true", "half", "float16"), NO_FP16),
        **dict.fromkeys(("32", "32-true", "float32"), "give fp32"),
        **dict.fromkeys(("bf16-mixed", "bf16-true", "bfloat16"), "give bf16"),
    },
)
INFERENCE_WEIGHTS = OneOf(("float", "int8"), instead={"int4": "give int8 or float"})
WEIGHTS_MEANING = "int8: rounded weights, for speed on CPUs; slightly less exact"
MODEL = "run folder, .ckpt file, Hugging Face folder or hub name"
