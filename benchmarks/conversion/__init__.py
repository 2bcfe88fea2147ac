"""The whole loop, from recorded calls to promoted skills, on real data and beside baselines."""
