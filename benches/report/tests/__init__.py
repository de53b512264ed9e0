"""The report's own tests. They start nothing and ask nobody."""
