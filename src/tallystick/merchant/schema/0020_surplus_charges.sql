-- A payment of which the gateway captured two charges: the surplus goes back charge by charge (RULES §11, captured_twice).
ALTER TABLE errand DROP CONSTRAINT errand_kind_check;
ALTER TABLE errand ADD CONSTRAINT errand_kind_check CHECK (kind IN ('decide', 'return', 'return_charges', 'release'));
