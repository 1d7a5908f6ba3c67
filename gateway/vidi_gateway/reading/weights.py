"""How much each thing weighs in a film's urgency: the table `reading_order` of the rules file."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: By code (SNOMED CT, DICOM CID 3716 for the grades). A class that is not named here or by the site weighs nothing.
WEIGHTS = {
    "SCT:24484000": 1.0,  # severe
    "SCT:6736007": 0.6,  # moderate
    "SCT:255604002": 0.3,  # mild
    "SCT:233604007": 0.6,  # pneumonia
    "SCT:840539006": 0.6,  # COVID-19
    "SCT:882784691000119100": 0.7,  # pneumonia caused by SARS-CoV-2
}

#: The film was not shown to the model as its header says, because the header is damaged.
QUALITY_NOTES = (
    "MODALITY_LUT_IGNORED",
    "PADDING_IGNORED",
    "RESCALE_IGNORED",
    "SHUTTER_IGNORED",
    "VOI_LUT_IGNORED",
    "WINDOW_IGNORED",
)

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class ReadingOrder(BaseModel):
    """What makes a film urgent, and how far that goes. Weights are shares of 1 and never below 0.

    Attributes
    ----------
    weights
        Weight of a class by its name, or by its code as "SCT:24484000"; the site's beside the built-in ones.
    bands
        Scores from which a film is in the first, second, ... urgency band. Only a higher band overtakes, so that small
        differences of a score move nothing.
    uncertainty
        Weight of a prediction that is as uncertain as can be.
    uncertain_entropy
        Normalised entropy of the probabilities, 0..1, from which a prediction counts as uncertain.
    near_tie
        Difference of the two highest probabilities below which it counts as uncertain too.
    out_of_population
        Weight of a film outside the model's intended use.
    additivity
        Weight of an explanation that does not add up.
    max_residual
        Additivity residual above which it does not.
    quality
        Weight of remarks on the film's quality.
    quality_notes
        Codes of these remarks.
    max_overtaking_minutes
        A film that has waited longer is not overtaken any more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: dict[str, Share] = Field(default_factory=dict, max_length=1000)
    bands: tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...] = Field(
        default=(0.25, 0.5, 0.75), min_length=1, max_length=10
    )
    uncertainty: Share = 0.3
    uncertain_entropy: Share = 0.9
    near_tie: Share = 0.1
    out_of_population: Share = 0.25
    additivity: Share = 0.25
    max_residual: float = Field(default=0.05, gt=0.0)
    quality: Share = 0.25
    quality_notes: tuple[str, ...] = QUALITY_NOTES
    max_overtaking_minutes: float = Field(default=240.0, ge=0.0, le=60 * 24 * 365)

    @model_validator(mode="after")
    def _rising(self) -> ReadingOrder:
        if any(b <= a for a, b in zip(self.bands, self.bands[1:], strict=False)):
            raise ValueError("bands must rise")
        return self

    def weight(self, name: str, scheme: str, value: str) -> float:
        """Weight of a class, 0..1: by its name, else by its code, else as built in; 0 when nobody names it."""
        code = f"{scheme}:{value}"
        for table in (self.weights, WEIGHTS):
            for key in (name, code):
                if key in table:
                    return table[key]
        return 0.0

    def band(self, score: float) -> int:
        """Urgency band of a score: 0 below the first threshold."""
        return sum(score >= threshold for threshold in self.bands)
