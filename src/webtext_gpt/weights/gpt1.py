"""GPT-1 in Hugging Face's format: `OpenAIGPTLMHeadModel`, `OpenAIGPTForSequenceClassification`.

Its blocks are those of GPT-2, with layer normalization after each residual sum and none at the
end. Early files use the endings `.g`, `.b` and `.w` of OpenAI's code for gains, biases and weights.
"""

from webtext_gpt.weights.config_json import LAYER_NORM_EPSILON, ModelType
from webtext_gpt.weights.gpt2 import NAMES as GPT2_NAMES

NAMES = {
    **GPT2_NAMES,
    "wte.weight": "tokens_embed.weight",
    "wpe.weight": "positions_embed.weight",
}
EARLY_ENDINGS = {".g": ".weight", ".w": ".weight", ".b": ".bias"}

GPT1 = ModelType(
    name="openai-gpt",
    language_model="OpenAIGPTLMHeadModel",
    classifier="OpenAIGPTForSequenceClassification",
    norm="post",
    activation_field="afn",
    # This class computes the tanh approximation under both names.
    activations={"gelu": "gelu_tanh", "gelu_new": "gelu_tanh", "relu": "relu"},
    defaults={
        "n_layer": 12,
        "n_head": 12,
        "n_embd": 768,
        "n_positions": 512,
        "vocab_size": 40_478,
        "afn": "gelu",
        "embd_pdrop": 0.1,
        "attn_pdrop": 0.1,
        "resid_pdrop": 0.1,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
    },
    required={
        "layer_norm_epsilon": LAYER_NORM_EPSILON,
        "pruned_heads": {},
        "quantization_config": None,
        "auto_map": None,
    },
    names=NAMES,
)
