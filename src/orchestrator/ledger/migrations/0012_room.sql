-- A claimed row is longer than a queued one, by lease, receipt and consumer: with less room on a page one in nine versions had to
-- go to another page, and into all indexes.
ALTER TABLE chunks SET (fillfactor = 40);
