"""The road of a job, from a request to reviewed and saved pictures. No torch: what computes is behind the engine."""
