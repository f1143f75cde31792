"""The configuration: its sources, its options, and the compiled settings that every process gets."""
