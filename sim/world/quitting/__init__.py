"""Why users leave: a file for each quit rule, and several at once as `one+another`."""

from sim.world.quitting.rules import QUIT_RULES, Encounter, QuitRule
from sim.world.quitting.several import names_of, reasons_of, rule_named

__all__ = ["QUIT_RULES", "Encounter", "QuitRule", "names_of", "reasons_of", "rule_named"]
