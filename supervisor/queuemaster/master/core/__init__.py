"""What the master decides. Pure: state, events and times in, actions out; no clock, no signal, no process."""
