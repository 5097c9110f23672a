"""Reads a configuration file: YAML, with `${VARIABLES}` replaced."""

import io
import re
from collections.abc import Mapping
from typing import Any

from ..core.model.errors import Invalid
from .value_types import KEYS, SECTIONS, check_known

# In `{api_key: ${KEY}}` YAML would interpret the inner braces: other characters replace them.
_STAND_INS = {ord("$"): "\ue000", ord("{"): "\ue001", ord("}"): "\ue002"}
_BACK = {ord(other): chr(own) for own, other in _STAND_INS.items()}


def read(path: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The raw value of each key in the file. Raises `Invalid` for an unknown key."""
    values = {}
    for section, content in _document(path).items():
        for key, raw in _keys(section, content, path).items():
            check_known(key, path)
            values[key] = _expanded(raw, key, path, environ)
    return values


def _keys(section: Any, content: Any, path: str) -> dict[str, Any]:
    if section in KEYS:
        return {section: content}
    if section not in SECTIONS:
        inner = next(iter(content), None) if isinstance(content, Mapping) else None
        return {str(section) if inner is None else f"{section}.{inner}": None}
    if content is not None and not isinstance(content, Mapping):
        raise Invalid(f"{path}: {section} must be a group of settings", field=section)
    return {f"{section}.{name}": raw for name, raw in (content or {}).items()}


def _document(path: str) -> Mapping[Any, Any]:
    import yaml  # imported only if there is a file: it is slow

    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        text = re.sub(r"\$\{[^}\n]*\}", lambda match: match[0].translate(_STAND_INS), text)
        document = _loaded(text)
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", field="config") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = " ".join(str(error).replace('in "<file>", ', "at ").split())
        raise Invalid(f"{path} is not YAML: {message}", field="config") from None
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        raise Invalid(f"{path} must contain sections: {', '.join(SECTIONS)}", field="config")
    return document


def _loaded(text: str) -> Any:
    """Load like `yaml.safe_load`, but reject a duplicate key."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in seen:
                    message = f"{key.value} is set twice,"
                    raise yaml.MarkedYAMLError(problem=message, problem_mark=key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    return yaml.load(io.StringIO(text), Loader)


def _expanded(raw: Any, key: str, path: str, environ: Mapping[str, str]) -> Any:
    """Replace `${NAME}` in all text in `raw`."""

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise Invalid(f"{path}: {key}: ${{{name}}} is not a variable's name", field=key)
        if name not in environ:
            raise Invalid(f"{path}: {key}: the environment variable {name} is not set", field=key)
        return environ[name]

    if isinstance(raw, str):
        return re.sub(r"\$\{([^}]*)\}", fill, raw.translate(_BACK))
    if isinstance(raw, list):
        return [_expanded(item, f"{key}[{index}]", path, environ) for index, item in enumerate(raw)]
    if isinstance(raw, Mapping):
        return {name: _expanded(item, f"{key}.{name}", path, environ) for name, item in raw.items()}
    return raw
