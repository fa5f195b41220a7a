"""One run, described by plain values, under either driver; and what can be seen of it."""
