"""What the master decides. Pure: state, events and times in, actions out; no clock, socket, signal or process."""
