"""Reports as a Stripe user fetches them: report runs and their files, made of settlement reports (RULES §10)."""
