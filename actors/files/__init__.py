"""Files, folders and streams of the operating system."""
