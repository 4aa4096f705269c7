-- ready
-- Whether the database answers and has been migrated; the merchant asked for need not exist.
SELECT m.merchant_id FROM merchant m WHERE m.merchant_id = $1::text;

-- pending
-- What the sandbox's time waits for: whether something is due and not done yet, else when the next thing will be. The earliest of
-- every kind of work is enough.
SELECT coalesce(bool_or(due.due_at <= $1::timestamptz), false) AS busy, min(due.due_at) AS next_due_at
  FROM ((SELECT a.due_at FROM attempt a WHERE a.due_at IS NOT NULL ORDER BY a.due_at LIMIT 1)
        UNION ALL
        (SELECT o.due_at FROM orders o WHERE o.due_at IS NOT NULL ORDER BY o.due_at LIMIT 1)
        UNION ALL
        (SELECT i.due_at FROM inbox i WHERE i.due_at IS NOT NULL ORDER BY i.due_at LIMIT 1)
        UNION ALL
        (SELECT e.due_at FROM errand e WHERE e.due_at IS NOT NULL ORDER BY e.due_at LIMIT 1)
        UNION ALL
        (SELECT d.due_at FROM delivery d WHERE d.state = 'due' ORDER BY d.due_at LIMIT 1)
        UNION ALL
        (SELECT r.due_at FROM reconciliation r WHERE r.due_at IS NOT NULL ORDER BY r.due_at LIMIT 1)
        UNION ALL
        (SELECT w.due_at FROM connection_watch w WHERE w.due_at IS NOT NULL ORDER BY w.due_at LIMIT 1)) AS due;
