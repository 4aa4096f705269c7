-- A connection's secrets may lie in Vault: vault:path#field names them, as env:NAME and file:/path do (RULES §12).

ALTER TABLE connection DROP CONSTRAINT connection_secret_key_ref_check;
ALTER TABLE connection ADD CONSTRAINT connection_secret_key_ref_check CHECK (secret_key_ref ~ '^(env|file|vault):.');
