"""Where streamwf meets the systems around it."""
