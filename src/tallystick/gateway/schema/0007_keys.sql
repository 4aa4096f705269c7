-- A claimed key is a short row that becomes a long one when its answer is kept. Pages are begun with room for that, so that
-- the row stays where it is and no index is written to a second time. No page is left emptier in the end.
ALTER TABLE idempotency_key SET (fillfactor = 10);
