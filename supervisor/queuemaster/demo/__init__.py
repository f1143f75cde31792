"""The demonstration: sample jobs, killed workers, and a count of the effects."""
