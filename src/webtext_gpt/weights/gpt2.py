"""GPT-2 in Hugging Face's format: `GPT2LMHeadModel` and `GPT2ForSequenceClassification`."""

from webtext_gpt.weights.config_json import LAYER_NORM_EPSILON, ModelType
from webtext_gpt.weights.names import BLOCK, LM_HEAD, SCORE

NAMES = {
    "wte.weight": "wte.weight",
    "wpe.weight": "wpe.weight",
    BLOCK + "ln_1.weight": "h.{}.ln_1.weight",
    BLOCK + "ln_1.bias": "h.{}.ln_1.bias",
    BLOCK + "attn.c_attn.weight": "h.{}.attn.c_attn.weight",
    BLOCK + "attn.c_attn.bias": "h.{}.attn.c_attn.bias",
    BLOCK + "attn.c_proj.weight": "h.{}.attn.c_proj.weight",
    BLOCK + "attn.c_proj.bias": "h.{}.attn.c_proj.bias",
    BLOCK + "ln_2.weight": "h.{}.ln_2.weight",
    BLOCK + "ln_2.bias": "h.{}.ln_2.bias",
    BLOCK + "mlp.c_fc.weight": "h.{}.mlp.c_fc.weight",
    BLOCK + "mlp.c_fc.bias": "h.{}.mlp.c_fc.bias",
    BLOCK + "mlp.c_proj.weight": "h.{}.mlp.c_proj.weight",
    BLOCK + "mlp.c_proj.bias": "h.{}.mlp.c_proj.bias",
    "ln_f.weight": "ln_f.weight",
    "ln_f.bias": "ln_f.bias",
    "lm_head.weight": LM_HEAD,
    "head.weight": SCORE,
}

GPT2 = ModelType(
    name="gpt2",
    language_model="GPT2LMHeadModel",
    classifier="GPT2ForSequenceClassification",
    norm="pre",
    activation_field="activation_function",
    activations={
        "gelu_new": "gelu_tanh",
        "gelu_pytorch_tanh": "gelu_tanh",
        "gelu": "gelu",
        "relu": "relu",
    },
    defaults={
        "n_layer": 12,
        "n_head": 12,
        "n_embd": 768,
        "n_positions": 1024,
        "vocab_size": 50_257,
        "activation_function": "gelu_new",
        "embd_pdrop": 0.1,
        "attn_pdrop": 0.1,
        "resid_pdrop": 0.1,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
    },
    # reorder_and_upcast_attn is accepted: it changes nothing in fp32.
    required={
        "layer_norm_epsilon": LAYER_NORM_EPSILON,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
        "is_encoder_decoder": False,
        "pruned_heads": {},
        "quantization_config": None,
        "auto_map": None,
    },
    names=NAMES,
)
