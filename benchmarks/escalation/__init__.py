"""Whether escalation can be trusted: calibration, certificates, costs, and the watch over them."""
