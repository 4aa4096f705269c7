-- purge_audit_entries
-- Take away acts before an id, the oldest first, as many as one commit may, with their outcomes. Gives their ids.
WITH old AS (
    DELETE FROM audit_entry e
     WHERE e.id IN (SELECT o.id FROM audit_entry o WHERE o.id < $1::text ORDER BY o.id LIMIT $2::int)
    RETURNING e.id
), outcomes AS (
    DELETE FROM audit_outcome o WHERE o.entry IN (SELECT old.id FROM old)
)
SELECT old.id FROM old ORDER BY old.id;
