"""Where models run: in this process, or in a child of their own."""
