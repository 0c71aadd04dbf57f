"""The learner process: RLlib, fed with the episodes that the policy server serves."""
