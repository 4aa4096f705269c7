-- ready
-- Whether the database answers and has been migrated.
SELECT count(*)::int AS merchants FROM (SELECT m.merchant_id FROM merchant m ORDER BY m.merchant_id LIMIT 1) AS some;
