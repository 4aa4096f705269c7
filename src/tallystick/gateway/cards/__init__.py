"""Cards: types that cannot leak, brands, payment methods."""
