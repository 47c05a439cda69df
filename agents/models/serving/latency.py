"""How long replies take: `fixed:MS` or `lognormal:MEDIAN,SIGMA`, in milliseconds."""

import math
from dataclasses import dataclass

from engine.chance import Stream
from engine.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Latency:
    """A log-normal distribution around *median* seconds; fixed where *sigma* is 0."""

    median: float = 0.0
    sigma: float = 0.0

    def draw(self, stream: Stream) -> float:
        """Return seconds."""
        if not self.sigma:
            return self.median
        # Box and Muller: two even numbers make a normal one.
        radius = math.sqrt(-2 * math.log(1 - stream.fraction()))
        normal = radius * math.cos(2 * math.pi * stream.fraction())
        return self.median * math.exp(self.sigma * normal)


def parse_latency(text: str) -> Latency:
    """Return the distribution that *text* names; raises ConfigError."""
    name, _, rest = text.partition(":")
    try:
        numbers = [float(number) for number in rest.split(",")]
    except ValueError:
        numbers = []
    wanted = {"fixed": 1, "lognormal": 2}.get(name)
    if len(numbers) != wanted or not all(0 <= number < math.inf for number in numbers):
        raise ConfigError(
            f"{text!r} is no latency", hint="fixed:200 or lognormal:800,0.6, in milliseconds"
        )
    return Latency(numbers[0] / 1000, *numbers[1:])
