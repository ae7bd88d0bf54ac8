"""What clients may do: hand in recordings, and look at, cancel, send again and delete the jobs that these became."""
