"""Which model is to serve a skill: candidates under hard limits, raced on labelled rows."""
