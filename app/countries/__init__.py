"""What is found in a country and what it lacks, and how long each step from a sample to an acknowledged alert takes."""
