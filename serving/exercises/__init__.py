"""The lessons' exercises: what a right answer looks like in the records, and what is wrong if not."""
