"""Settings of an average of the weights: the choices of `average=`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from webtext_gpt.settings.base import Target, setting
from webtext_gpt.settings.kinds import Number, Whole


class Ema(Target):
    """`average=ema`: exponential moving average of the weights, one more value per parameter."""

    target: Literal["webtext_gpt.training.averaging.Ema"] = setting(alias="_target_")
    decay: Annotated[float, Number(above=0, below=1)] = setting(
        0.99, "share of the average that a step keeps; it reaches back about 1 / (1 - decay) steps"
    )


class Window(Target):
    """`average=window`: mean of the weights at every interval-th of the last steps.

    It keeps steps / interval more values per parameter.
    """

    target: Literal["webtext_gpt.training.averaging.Window"] = setting(alias="_target_")
    steps: Annotated[int, Whole(1, unit="optimizer steps")] = setting(100, "length of the window")
    interval: Annotated[int, Whole(1, unit="optimizer steps")] = setting(
        20, "distance between averaged weights"
    )

    @model_validator(mode="after")
    def _refuse_a_rest(self) -> Self:
        if self.steps % self.interval:
            raise ValueError(
                f"average.interval={self.interval} does not divide average.steps={self.steps}"
            )
        return self


Average = Annotated[Ema | Window, Field(discriminator="target")]
