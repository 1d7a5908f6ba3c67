"""The table of `vidi explain --quality`."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from vidi.api.explainer.v1 import explainer_pb2, quality_pb2
from vidi.cli import build
from vidi.client import Assessment
from vidi.commands.quality import table


def curves(deletion: float, insertion: float) -> quality_pb2.DeletionInsertion:
    def curve(area: float) -> quality_pb2.Curve:
        return quality_pb2.Curve(values=[area, area], area=area)

    return quality_pb2.DeletionInsertion(
        deletion=curve(deletion),
        insertion=curve(insertion),
        random_deletion=curve(0.5),
        random_insertion=curve(0.5),
    )


def output(name: str, *, stands_out: bool) -> quality_pb2.OutputQuality:
    shares = [quality_pb2.Area(mass_share=0.5, grid_share=0.021), quality_pb2.Area(mass_share=0.8, grid_share=0.054)]
    return quality_pb2.OutputQuality(
        name=name,
        additivity_residual=2.5e-7,
        deletion_insertion=curves(-1.25, 1.75),
        repeatability=[
            quality_pb2.Repeatability(
                perturbation=quality_pb2.PERTURBATION_SHIFT, sigma=sigma, rank_correlation=0.91, cosine=0.97
            )
            for sigma in (0.0, 4.0)
        ],
        noise_floor={"value": 0.00123 if stands_out else 0.00045, "percentile": 99, "seeds": [0, 1, 2]},
        areas=quality_pb2.Areas(stands_out=stands_out, areas=shares if stands_out else []),
        truth=quality_pb2.TruthAgreement(map=quality_pb2.TruthScore(points_inside=stands_out)),
    )


@pytest.fixture
def assessment() -> Assessment:
    response = explainer_pb2.AssessExplanationResponse(
        model={"name": "m", "version": "1.0.0"},
        method={"engine": "shap", "engine_version": "0.51", "precision": "float32", "references": 8},
        measures=[
            quality_pb2.MEASURE_ADDITIVITY,
            quality_pb2.MEASURE_DELETION_INSERTION,
            quality_pb2.MEASURE_REPEATABILITY,
            quality_pb2.MEASURE_NOISE_FLOOR,
            quality_pb2.MEASURE_AREAS,
            quality_pb2.MEASURE_TRUTH,
        ],
        left_out=[
            quality_pb2.LeftOutMeasure(measure=quality_pb2.MEASURE_SIGN_DISAGREEMENT, reason="not by this engine")
        ],
        outputs=[output("mild", stands_out=True), output("severe", stands_out=False)],
        truth_chance={"favorable_inside": 0.1, "points_inside": 0.2, "tolerance": 7},
    )
    return Assessment.from_proto(response)


def test_every_measure_has_a_line_with_a_cell_an_output(assessment: Assessment) -> None:
    lines = table(assessment.to_json()).splitlines()
    assert "m 1.0.0" in lines[0]
    assert "shap 0.51" in lines[0]
    assert "not for diagnosis" in lines[0]
    told = {line.strip().split("  ")[0]: line for line in lines[1:]}
    assert told["additivity residual"].count("2.5e-07") == 2
    assert told["deletion area (random order)"].count("-1.25 (+0.50)") == 2
    assert "above" in told["insertion area (random order)"]
    assert told["moved 2 px, exact map"].count("0.91 / 0.97") == 2
    assert "moved 2 px, smoothed 4 px" in told
    assert told["noise floor"].split()[2:4] == ["1.23e-03", "4.50e-04"]
    assert "3 networks" in told["noise floor"]
    assert "2.1%, 5.4%" in told["area holding 50 %, 80 %"]
    assert "no region stands out" in told["area holding 50 %, 80 %"]
    assert "hit" in told["points at the truth"]
    assert "miss" in told["points at the truth"]
    assert "chance: 10.0%" in told["favorable inside the truth"]
    assert lines[-1].strip() == "not measured: sign disagreement: not by this engine"
    assert not any(line.startswith("sign disagreement") for line in told)


def test_explain_wants_something_to_do(tmp_path: object) -> None:
    ran = CliRunner().invoke(build(), ["explain", str(tmp_path)])
    assert ran.exit_code == 2
    assert "--quality" in ran.output
