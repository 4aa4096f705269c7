"""Personal data, as both services keep them: sealed for each person, read through the policy, found by keyed hashes."""
