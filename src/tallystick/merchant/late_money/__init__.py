"""Money that is late or surplus: kept or given back by the merchant's policy; the shop's stock (RULES §4, §8)."""
