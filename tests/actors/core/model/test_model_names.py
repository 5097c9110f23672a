"""Names that mean the same model to Ollama."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ollama_queue.actors.core.model.model_names import model_name
from tests.support.model_spellings import OTHERS, SAME

PARTS = st.sampled_from(["x", "library", "registry.ollama.ai", "ann", "latest", "hf.co", "v1.2"])
TAGS = st.sampled_from(["", ":latest", ":8b"])
NAMES = st.builds(
    lambda parts, tag: "/".join(parts) + tag, st.lists(PARTS, min_size=1, max_size=4), TAGS
)


@pytest.mark.parametrize("name", SAME)
def test_one_model_has_many_names(name: str) -> None:
    assert model_name(name) == "qwen3"


@pytest.mark.parametrize(("name", "canonical"), OTHERS.items())
def test_other_names_are_other_models(name: str, canonical: str) -> None:
    assert model_name(name) == canonical


@given(NAMES)
def test_a_canonical_name_is_its_own(name: str) -> None:
    """Routes keep canonical names, and read them again."""
    assert model_name(model_name(name)) == model_name(name)
