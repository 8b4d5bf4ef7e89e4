"""The kinds of cases, and how many of each there are."""

from typing import NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from .judge import judge
from .model_files import config_json, metadata, preprocessor_json, safetensors, shard_index, training_state
from .path_names import path_names
from .pickles import pickles
from .picture_files import claims, damaged_pictures, no_pictures, sound_pictures, strips


class Kind(NamedTuple):
    """A strategy, its share of all cases, and whether they need PyTorch, without which all others are tried."""

    cases: SearchStrategy
    share: float
    torch: bool = False


KINDS = {
    "safetensors": Kind(safetensors(), 0.22),
    "config.json": Kind(config_json(), 0.14),
    "preprocessor_config.json": Kind(preprocessor_json(), 0.1),
    "metadata": Kind(metadata(), 0.12),
    "shard index": Kind(shard_index(), 0.06),
    "training state": Kind(training_state(), 0.06),
    "pickles": Kind(pickles(), 0.1, torch=True),
    "sound pictures": Kind(sound_pictures(), 0.13),
    "damaged pictures": Kind(damaged_pictures(), 0.13),
    "no pictures": Kind(no_pictures(), 0.05),
    "claims of size": Kind(claims(), 0.02),
    "strips": Kind(strips(), 0.01),
    "names": Kind(path_names(), 0.02),
}


def try_cases(kind, count, number=None, begins=lambda: None, judged=lambda verdict: None):
    """Judges `count` cases of `kind` (fewer if there are fewer); calls `begins` before each one, and `judged` with
    its Verdict.

    With a `number` other cases than without, the same for the same number. Raises judge.Failed, by hypothesis, for
    the smallest case that it can find.
    """

    @settings(
        max_examples=count, database=None, deadline=None, derandomize=number is None, report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(KINDS[kind].cases)
    def every_case(case):
        begins()
        judged(judge(case))

    (every_case if number is None else seed(number)(every_case))()
