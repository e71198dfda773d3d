"""What a budget will buy on a device: operating points, times that were measured or estimated, and the runtime's own
decisions played through."""
