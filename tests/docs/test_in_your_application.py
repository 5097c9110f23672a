"""The programs that docs/python.md shows inside of web frameworks and notebooks, as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_examples import localized
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT

TEXT = (ROOT / "docs" / "python.md").read_text()
SHOWN = dict(re.findall(r"^```python (\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))

# How each is used, by its framework's own client for tests.
USED = {
    "fastapi": """
from fastapi.testclient import TestClient
from program import app
with TestClient(app) as browser:
    print(browser.post("/ask", params={"prompt": "hi"}).json())
""",
    "embedded": """
from fastapi.testclient import TestClient
from program import app
for _ in range(2):  # it closes, and opens again
    with TestClient(app) as browser:
        print(browser.post("/ask", params={"prompt": "hi"}).json())
""",
    "flask": """
from program import app
browser = app.test_client()
asked = browser.post("/ask", json={"prompt": "hi"})
assert asked.status_code == 202, asked.text
print(browser.get(f"/tasks/{asked.json['task_id']}").json)
""",
    "django": """
import sys
import django
from django.conf import settings
settings.configure(ROOT_URLCONF="program", ALLOWED_HOSTS=["*"])
django.setup()
from django.test import Client
browser = Client()
asked = browser.post("/ask", {"prompt": "hi"})
assert asked.status_code == 202, asked.content
print(browser.get(f"/tasks/{asked.json()['task_id']}").json())
""",
    "notebook": """
import ast, asyncio, inspect
cells = open("program.py").read().split("# %%\\n")
async def kernel():
    names = {}
    for cell in [*cells, *cells]:  # run all, and once more
        code = compile(cell, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        left = eval(code, names)
        if inspect.iscoroutine(left):
            await left
asyncio.run(kernel())
""",
}


@pytest.mark.parametrize("name", SHOWN)
def test_it_does_what_it_shows(
    name: str,
    server: QueueServer,
    model: FakeOllama,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    (tmp_path / "program.py").write_text(localized(SHOWN[name], server, model))

    done = subprocess.run(
        [sys.executable, "-c", USED[name]],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert "Hello!" in done.stdout


def test_each_is_short() -> None:
    assert set(SHOWN) == set(USED)
    for name, text in SHOWN.items():
        code = [line for line in text.splitlines() if line and not line.startswith(("from", "#"))]
        assert len(code) <= 14, name
