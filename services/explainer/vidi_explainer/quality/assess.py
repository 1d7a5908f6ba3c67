"""All measures of one film's explanation, part by part: between two parts, others may use the engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

from vidi.errors import InvalidInput, PreconditionFailed
from vidi_explainer.attribution import Attribution
from vidi_explainer.engine import Engine
from vidi_explainer.quality.areas import Areas, areas
from vidi_explainer.quality.curves import STEPS, DeletionInsertion, deletion_insertion
from vidi_explainer.quality.noise_floor import NETWORKS, NoiseFloor, Randomised, combined, network_floors
from vidi_explainer.quality.outputs import Film, Map, never, outputs_of, stop_if
from vidi_explainer.quality.repeatability import Perturbation, Repeatability, repeatability
from vidi_explainer.quality.signs import mean_disagreement
from vidi_explainer.quality.truth import Mask, TruthAgreement, TruthChance, against_truth, chance, random_map
from vidi_explainer.targets import Target


class Measure(StrEnum):
    """What can be measured."""

    ADDITIVITY = "additivity"
    SIGN_DISAGREEMENT = "sign_disagreement"
    DELETION_INSERTION = "deletion_insertion"
    REPEATABILITY = "repeatability"
    NOISE_FLOOR = "noise_floor"
    AREAS = "areas"
    TRUTH = "truth"


@dataclass(frozen=True)
class Question:
    """What is to be assessed.

    Attributes
    ----------
    grid
        The film, float32 (height, width) in 0..1, as `Preprocessing.to_grid` returns it.
    target
        What is explained.
    replacement
        Mean of the model's references, float32 (height, width) in 0..1: what deleted pixels become.
    measures
        What is measured; empty: all that the engine and this question allow.
    truth
        bool (height, width): where the opacity is known to be; None: unknown.
    steps
        Steps of the curves.
    seed
        Of all randomness.
    """

    grid: Film
    target: Target
    replacement: Film
    measures: Collection[Measure] = ()
    truth: Mask | None = None
    steps: int = STEPS
    seed: int = 0


@dataclass(frozen=True)
class OutputQuality:
    """What was measured of one output; None, or nothing, where it was not.

    Attributes
    ----------
    name, index, output, base_value
        As in `OutputAttribution`.
    additivity_residual
        As there.
    sign_disagreement
        See `signs`. None also for a map that is zero everywhere.
    deletion_insertion
        See `curves`.
    repeatability
        See `repeatability`: one a perturbation and smoothing.
    noise_floor
        See `noise_floor`.
    areas
        See `areas`.
    truth
        See `truth`.
    """

    name: str
    index: int
    output: float
    base_value: float
    additivity_residual: float | None = None
    sign_disagreement: float | None = None
    deletion_insertion: DeletionInsertion | None = None
    repeatability: tuple[Repeatability, ...] = ()
    noise_floor: NoiseFloor | None = None
    areas: Areas | None = None
    truth: TruthAgreement | None = None


class Assessment:
    """Assesses the explanation of one film.

    Run the `parts` in their order, on any threads but one at a time; then the results are there.

    Parameters
    ----------
    engine
        Explains the model.
    classes
        The model's class names in output order.
    question
        What is to be assessed.
    randomised
        Opens the model with randomised weights; None: that cannot be had of this engine.
    cancelled
        Asked now and then; once it says True, `Cancelled` is raised soon.

    Attributes
    ----------
    outputs
        What was measured, in the order of the target's outputs.
    measured
        Measures that were taken, in the order of `Measure`.
    left_out
        Measures that nobody asked for by name and that could not be taken, and why; in the order of `Measure`.
    truth_chance
        What chance gives against the truth; None where not measured.

    Raises
    ------
    InvalidInput
        When the target names a class that the model lacks, or the truth is asked about and not given, or is empty.
    PreconditionFailed
        When a measure was asked for that the engine cannot give.
    """

    def __init__(
        self,
        engine: Engine,
        classes: Sequence[str],
        question: Question,
        *,
        randomised: Randomised | None = None,
        cancelled: Callable[[], bool] = never,
    ) -> None:
        self._engine = engine
        self._plan = question.target.plan(classes)
        self._question = question
        self._randomised = randomised
        self._cancelled = cancelled
        self._attribution: Attribution | None = None
        self.outputs: tuple[OutputQuality, ...] = ()
        self.measured: list[Measure] = []
        self.left_out: dict[Measure, str] = {}
        self.truth_chance: TruthChance | None = None
        self._wanted = self._possible()

    def parts(self) -> Iterator[Callable[[], None]]:
        """Yield the parts of the work, each about as long as one explanation or two."""
        yield self._explain
        if Measure.DELETION_INSERTION in self._wanted:
            yield self._curves
        if Measure.REPEATABILITY in self._wanted:
            for perturbation in Perturbation:
                yield partial(self._repeat, perturbation)
        if {Measure.NOISE_FLOOR, Measure.AREAS} & self._wanted:
            floors: dict[int, tuple[float, ...] | None] = {}
            for number in range(self._question.seed, self._question.seed + NETWORKS):
                yield partial(self._noise, number, floors)
            yield partial(self._stand_out, floors)
        if Measure.TRUTH in self._wanted:
            yield self._truth
        self.measured = [measure for measure in Measure if measure in self._wanted]
        self.left_out = {measure: self.left_out[measure] for measure in Measure if measure in self.left_out}

    def run(self) -> Assessment:
        """Run all parts and return the assessment itself."""
        for part in self.parts():
            part()
        return self

    def _possible(self) -> set[Measure]:
        """What is to be measured; notes what is left out, refuses what was asked for in vain."""
        asked = set(self._question.measures)
        wanted = asked or set(Measure)
        if self._question.truth is None and Measure.TRUTH in asked:
            raise InvalidInput("truth_mask: the measure 'truth' needs one", field="truth_mask")
        if self._question.truth is None:
            wanted.discard(Measure.TRUTH)
        floored = wanted & {Measure.NOISE_FLOOR, Measure.AREAS}
        if self._randomised is None and floored:
            reason = f"engine {self._engine.name!r} offers no network with randomised weights"
            self._give_up(floored, PreconditionFailed(f"{reason}, which the noise floor and areas need"))
            wanted -= floored
        return wanted

    def _give_up(self, measures: Collection[Measure], error: PreconditionFailed) -> None:
        """Note that measures cannot be taken; an error when they were asked for by name."""
        if self._question.measures:
            raise error
        self.left_out.update(dict.fromkeys(measures, str(error)))

    def _explain(self) -> None:
        self._attribution = attribution = self._explained()
        signs, additivity = (m in self._wanted for m in (Measure.SIGN_DISAGREEMENT, Measure.ADDITIVITY))
        self.outputs = tuple(
            OutputQuality(
                name=output.name,
                index=output.index,
                output=output.output,
                base_value=output.base_value,
                additivity_residual=output.additivity_residual if additivity else None,
                sign_disagreement=(
                    mean_disagreement(output.per_reference) if signs and output.per_reference is not None else None
                ),
            )
            for output in attribution.outputs
        )

    def _explained(self) -> Attribution:
        explain = partial(self._engine.explain, self._question.grid, self._question.target, cancelled=self._cancelled)
        if Measure.SIGN_DISAGREEMENT in self._wanted:
            try:
                return explain(per_reference=True)
            except PreconditionFailed as error:
                self._give_up([Measure.SIGN_DISAGREEMENT], error)
                self._wanted.discard(Measure.SIGN_DISAGREEMENT)
        return explain()

    @property
    def _maps(self) -> list[Map]:
        assert self._attribution is not None
        return [output.map for output in self._attribution.outputs]

    def _curves(self) -> None:
        question = self._question
        found = deletion_insertion(
            outputs_of(self._engine, self._plan, cancelled=self._cancelled),
            question.grid,
            question.replacement,
            self._maps,
            steps=question.steps,
            seed=question.seed,
        )
        self._each(lambda i, output: replace(output, deletion_insertion=found[i]))

    def _repeat(self, perturbation: Perturbation) -> None:
        stop_if(self._cancelled)
        found = repeatability(
            self._engine,
            self._question.grid,
            self._question.target,
            self._maps,
            perturbation,
            cancelled=self._cancelled,
        )
        self._each(lambda i, output: replace(output, repeatability=output.repeatability + found[i]))

    def _noise(self, seed: int, floors: dict[int, tuple[float, ...] | None]) -> None:
        assert self._randomised is not None
        stop_if(self._cancelled)
        question = self._question
        engine = self._randomised(seed)
        floors[seed] = network_floors(self._maps, engine, question.grid, question.target, cancelled=self._cancelled)

    def _stand_out(self, floors: dict[int, tuple[float, ...] | None]) -> None:
        try:
            found = combined(floors)
        except PreconditionFailed as error:
            floored = self._wanted & {Measure.NOISE_FLOOR, Measure.AREAS}
            self._give_up(floored, error)
            self._wanted -= floored
            return
        self._each(lambda i, output: replace(output, noise_floor=found[i]))
        if Measure.AREAS in self._wanted:
            maps = self._maps
            self._each(lambda i, output: replace(output, areas=areas(maps[i], found[i].value)))

    def _truth(self) -> None:
        mask = self._question.truth
        assert mask is not None
        self.truth_chance = chance(mask)
        maps, rivals = self._maps, {"random": random_map(mask.shape, self._question.seed)}
        self._each(lambda i, output: replace(output, truth=against_truth(maps[i], mask, rivals)))

    def _each(self, change: Callable[[int, OutputQuality], OutputQuality]) -> None:
        self.outputs = tuple(change(i, output) for i, output in enumerate(self.outputs))
