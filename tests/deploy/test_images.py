"""The Dockerfiles, read by the parser that docker uses."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import dockerfile
import pytest

from vidi import __version__
from vidi.service import find

IMAGES = Path(__file__).resolve().parents[2] / "deploy/images"
ROOT = IMAGES.parents[1]
NAMES = sorted(path.stem for path in IMAGES.glob("*.Dockerfile"))
TORCH = {"classifier", "explainer"}


def commands(name: str) -> list[Any]:
    return list(dockerfile.parse_file(str(IMAGES / f"{name}.Dockerfile")))


def final(name: str) -> dict[str, list[Any]]:
    parsed = commands(name)
    last = max(i for i, c in enumerate(parsed) if c.cmd == "FROM")
    stage: dict[str, list[Any]] = {}
    for command in parsed[last:]:
        stage.setdefault(command.cmd, []).append(command)
    return stage


def variables(name: str) -> dict[str, str]:
    values = [v for command in final(name)["ENV"] for v in command.value]
    return dict(zip(values[::2], values[1::2], strict=True))


def test_there_is_one_image_a_service() -> None:
    assert NAMES == ["classifier", "clusterer", "explainer", "gateway"]


@pytest.mark.parametrize("name", NAMES)
def test_stages_stand_on_the_chosen_base(name: str) -> None:
    parsed = commands(name)
    assert parsed[0].cmd == "ARG"
    assert parsed[0].value[0].startswith("BASE_IMAGE=")
    assert ":latest" not in parsed[0].value[0]
    stages = [c for c in parsed if c.cmd == "FROM"]
    assert len(stages) == 2
    assert all(s.value[0] == "${BASE_IMAGE}" for s in stages)
    (copied,) = final(name)["COPY"]
    assert copied.flags == ("--from=build",), "the final image takes nothing but what was built"


@pytest.mark.parametrize("name", NAMES)
def test_an_image_runs_as_nobody_in_particular_and_can_be_probed(name: str) -> None:
    stage = final(name)
    user, _, group = stage["USER"][0].value[0].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert stage["ENTRYPOINT"][0].value == ("vidi", "serve")
    assert stage["CMD"][0].value == (name,)
    assert stage["HEALTHCHECK"][0].value[3:] == (
        "vidi.rpc.probe",
        f"127.0.0.1:{variables(name)['VIDI_PORT']}",
        "liveness",
    )
    labels = dict(zip(stage["LABEL"][0].value[::2], stage["LABEL"][0].value[1::2], strict=True))
    assert labels["org.opencontainers.image.version"].strip('"') == __version__


@pytest.mark.parametrize("name", NAMES)
def test_an_image_installs_its_own_extra_by_the_lock(name: str) -> None:
    installs = [c.value[0] for c in commands(name) if c.cmd == "RUN" and "pip install" in c.value[0]]
    assert all("-c requirements.lock" in line for line in installs)
    match = re.search(r"'\.\[(.+)\]'", installs[-1])
    assert match
    assert match[1] == name
    assert any("torch" in line.split() for line in installs) == (name in TORCH)
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][name]
    assert any(line.startswith("torch>") for line in asked) == (name in TORCH)


@pytest.mark.parametrize("name", NAMES)
def test_variables_are_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    factory: Any = find(name).settings
    fields = factory.model_fields
    own = {k: v for k, v in variables(name).items() if k.startswith("VIDI_")}
    assert own
    for variable, value in own.items():
        assert variable.removeprefix("VIDI_").lower() in fields
        monkeypatch.setenv(variable, value)
    settings = factory()
    assert settings.host == "0.0.0.0"
    exposed = {int(p) for p in final(name)["EXPOSE"][0].value}
    assert settings.port in exposed


def test_the_build_context_holds_sources_only() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert allowed == {
        "pyproject.toml", "requirements.lock", "README.md", "LICENSE", "NOTICE",
        "vidi", "buf", "services", "gateway", "models",
    }  # fmt: skip
