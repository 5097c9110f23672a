"""Loads valid and invalid configuration files."""

import pytest

from ollama_queue.actors.core.model.errors import Invalid
from ollama_queue.actors.settings.settings import load


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Load a `config.yaml` with this text."""
    monkeypatch.chdir(tmp_path)

    def read(text, environ=None, flags=None):
        (tmp_path / "config.yaml").write_text(text)
        return load("config.yaml", environ or {}, flags or {})

    return read


@pytest.fixture
def refused(read):
    """The error message for a `config.yaml` with this text."""

    def refused(text, environ=None, flags=None):
        with pytest.raises(Invalid) as caught:
            read(text, environ, flags)
        assert "\n" not in caught.value.message
        return caught.value.message

    return refused
