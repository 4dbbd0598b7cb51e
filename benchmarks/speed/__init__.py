"""What is timed: candidates, jobs, bundles of random weights, the report."""
