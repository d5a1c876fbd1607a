"""What a program costs on the machine: cycles and bytes, by superstep and tile."""
