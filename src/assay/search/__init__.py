"""From a model, chips, traffic and targets to deployments, each simulated, ranked and priced."""
