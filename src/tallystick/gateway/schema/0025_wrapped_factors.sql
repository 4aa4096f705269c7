-- Secrets of second factors, wrapped by the key-encryption key. `secret` then holds random bytes: a process of the version before refuses
-- the codes, where it would ask for none if it were null.
ALTER TABLE operator_second_factor ADD COLUMN wrapped text COLLATE "C" CHECK (wrapped ~ '^[a-z][a-z0-9]*:v[1-9][0-9]*:');
