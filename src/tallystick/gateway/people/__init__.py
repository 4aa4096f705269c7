"""Who the customers of accounts are: sealed for each person, read through the policy, forgotten with their key."""
