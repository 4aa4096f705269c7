-- Operators, dead letters and what becomes of them; how endpoints stand.

-- Operators belong to the installation and to no account: the hash of a key finds its holder.
CREATE TABLE operator_key (
    key_hash   bytea PRIMARY KEY,
    name       text NOT NULL,                       -- whom it was made for
    hint       text NOT NULL,                       -- prefix and last four, for lists
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);
