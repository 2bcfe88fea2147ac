"""From an agent's LLM calls to small models that serve them: the steps around the orchestrator."""
