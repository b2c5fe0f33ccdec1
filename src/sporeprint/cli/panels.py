"""The headings under which `sporeprint --help` lists its commands."""

WHOLE, STEPS, USE, TOOLS = "The whole run", "Its steps, one at a time", "Using the models", "Around it"
