"""Messages that servers send with a 500, or inside a stream, though a retry cannot succeed."""

import re

# Only errors that no retry can fix, whatever else happens on the server: running out of memory, a
# runner that died and a model that cannot be loaded repeat their messages too, but are temporary.
_WORDS = (
    # Ollama 0.9.3 for a `format` that is neither "json" nor a schema, and for a bad schema.
    r"^invalid format: ",
    r"^invalid JSON schema in format",
    # Ollama 0.9.3 for an option of the wrong type: option "num_ctx" must be of type integer.
    r'^option "\w+" must be of type ',
    # Ollama 0.9.3 for a template that is broken or uses a missing field (ollama#10894).
    r"^template: ",
    # Ollama: X does not support tools, thinking, insert, generate, chat; this model does not
    # support embeddings (400 or 501 today, 500 in some versions; ollama#2778 words it differently).
    r"\bdoes not support (tools|thinking|insert|generate|chat|completion|vision|embeddings)\b",
    r"^embedding models do not support chat",
    # Ollama's runner: the input length exceeds the context length (ollama's embed, ragflow#10750).
    # llama.cpp: the request exceeds the available context size. vLLM: This model's maximum ...
    r"\bexceeds? (the )?(maximum |available )?context (length|size)\b",
    r"\bmaximum context length is \d+ tokens\b",
    # llama.cpp for an embedding of more than one physical batch (llama.cpp#7389, lemonade#3591).
    r"\binput (\(\d+ tokens\) )?is too large to process\b",
    # llama.cpp without --jinja (llama.cpp#10920, LLMKube#126).
    r"^Unsupported param: tools",
    r"^tools param requires --jinja flag",
    # llama.cpp of early 2025 (retried unstreamed).
    r"^Cannot use tools with stream",
    # llama.cpp when the model's template refuses the messages (llama.cpp#19851, #17040).
    r"\bJinja Exception: ",
    r"\braise_exception\(",
    # llama.cpp for a model that was started without its projector (--mmproj).
    r"^(image|audio) input is not supported\b",
)
_PERMANENT = re.compile("|".join(_WORDS), re.IGNORECASE)


def is_permanent(message: str) -> bool:
    return _PERMANENT.search(message) is not None
