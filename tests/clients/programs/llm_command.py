"""llm, the command: a prompt, its image with a question and a schema, token usage."""

import base64
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "extra-openai-models.yaml").write_text(
        "- model_id: pinxit\n  model_name: pinxit\n  vision: true\n  supports_schema: true\n"
        f"  api_base: {os.environ['OPENAI_BASE_URL']}\n"
    )

    def ask(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "llm", "-m", "pinxit", "--key", "x", *options]
        environment = {**os.environ, "LLM_USER_PATH": folder}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=60
        )

    drawn = ask("Draw a cat", "-u")
    assert "output" in drawn.stderr
    found = re.search(r"data:image/png;base64,([\w+/=]+)", drawn.stdout)
    assert found is not None, drawn.stdout
    image = Path(folder) / "a.png"
    image.write_bytes(base64.b64decode(found[1]))
    caption = ask("What is this?", "-a", str(image)).stdout.strip()
    answer = ask("What is this?", "-a", str(image), "--schema", "caption str").stdout
    assert json.loads(answer) == {"caption": caption}
